"""The experiments of Hinton, Vinyals, Dean 2015, for scripts/paper."""
