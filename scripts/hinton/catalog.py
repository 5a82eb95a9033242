"""The experiments, in the order of the paper."""

from hinton import (distiller, ensemble, few_labels, left_out, logit_matching, regularized_teacher, specialists,
                    temperature_against_width)

experiments = [regularized_teacher, temperature_against_width, left_out, few_labels, ensemble, specialists, logit_matching,
               distiller]
