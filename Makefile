# What people type; the work is in scripts/. Plain `make` lists the targets.

DATA ?= fashion-mnist
SWIFT_SOURCES = Package.swift Sources Tests Benchmarks $(wildcard Examples)

.PHONY: help demo test build bench paper text teacher fixtures format lint clean

help:
	@echo "make demo               train a small student alone and distilled, and compare them (DATA=digits: no network)"
	@echo "make test               run all tests"
	@echo "make build              build the command: .build/release/distill"
	@echo "make bench              measure our speed beside others'"
	@echo "make paper              the experiments of the paper, in small (ONLY=few-labels: one of them)"
	@echo "make text               distil MiniLM into small classifiers of texts (ONLY=windows: one experiment)"
	@echo "make teacher            train the teacher of the demo again"
	@echo "make fixtures           compute the reference numbers of the tests again, with PyTorch"
	@echo "make format             format the Swift sources"
	@echo "make lint               check their format"
	@echo "make clean              delete what was built; libtorch/, data/ and runs/ stay"

demo:
	@scripts/demo $(DATA)

test:
	@scripts/test

build:
	@scripts/bootstrap
	@echo "==> Building .build/release/distill (the first time takes some minutes)"
	@swift build -c release --product distill

bench: build
	@scripts/datasets fashion-mnist
	@echo "==> Measuring"
	@Benchmarks/run

paper:
	@scripts/paper $(ONLY) --data $(DATA)

text:
	@scripts/text $(ONLY)

teacher: build
	@scripts/datasets fashion-mnist
	@echo "==> Training the teacher of the demo"
	@.build/release/distill train Recipes/teacher-fashion-mnist.yaml --save-to Models/fashion-mnist-resnet9 --half --force

fixtures:
	@scripts/fixtures/run

format:
	@echo "==> Formatting $(SWIFT_SOURCES)"
	@swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

lint:
	@echo "==> Checking the format of $(SWIFT_SOURCES)"
	@swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)

clean:
	@echo "==> Deleting .build"
	@rm -rf .build
