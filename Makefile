# A thin front: everything is done by CMake presets (CMakePresets.json) and scripts/.
# Quick start: `make demo` and `make test`. AEE_JOBS=n limits parallel work.

PACKAGES_BUILD = cmake ninja-build gcc libc6-dev libdw-dev libjansson-dev libseccomp-dev libzstd-dev libxxhash-dev musl-dev pkg-config \
	libsdl2-dev libsdl2-ttf-dev libpng-dev fonts-dejavu-core
PACKAGES_TEST = $(PACKAGES_BUILD) g++ gdb libcmocka-dev python3
PACKAGES_BENCH = liblua5.4-dev libluajit-5.1-dev
PACKAGES_MODEL = spin
PACKAGES_GDB = gdb
PACKAGES_SCREEN = xvfb xdotool
PACKAGES_LINT = clang-format clang-tidy
PACKAGES_FUZZ = clang libclang-rt-14-dev

DEMO = build/release/demo/aee-demo
FUZZ_SECONDS = 60
LOG = build/demo.log

SOAK_SECONDS = 60
SOAK_CRASHES = 100000
SOAK_MINUTES = 30

.PHONY: help demo bench test asan tsan soak hw lint format fuzz clean

help:
	@echo 'make demo    build the library, the command line and the demo, and run the demo'
	@echo 'make bench   build the command line and measure this machine (docs/performance.md)'
	@echo 'make test    all tests: optimised, address+undefined sanitizers, thread sanitizer, and all of "make hw"'
	@echo 'make asan    the address and undefined behaviour part of it'
	@echo 'make tsan    the thread part of it'
	@echo 'make soak    the stress test for SOAK_SECONDS (default 60), optimised and with the thread sanitizer; then'
	@echo '             SOAK_CRASHES (default 100000: 28 minutes), one in each frame at 60 Hz; then the demo with'
	@echo '             random actions for SOAK_MINUTES (default 30)'
	@echo 'make hw      tests on emulated AMD and Intel machines (downloads about 150 MB once; AEE_HW=no: without)'
	@echo 'make lint    source checks, clang-format, clang-tidy'
	@echo 'make format  reformat the C sources'
	@echo 'make fuzz    build the fuzzers and run each for FUZZ_SECONDS (default 60)'
	@echo 'make clean   remove build/'

demo:
	@scripts/install-deps.sh $(PACKAGES_BUILD)
	@mkdir -p build
	@echo '== building (log: $(LOG))'
	@{ cmake --preset release && cmake --build --preset release; } >$(LOG) 2>&1 \
	    || { tail -n 60 $(LOG); exit 1; }
	@test -x $(DEMO) || { echo 'make demo: the build made no $(DEMO)'; exit 1; }
	@cd build && ../$(DEMO) || test $$? -eq 77 # it has said what is missing here

bench:
	@scripts/install-deps.sh $(PACKAGES_BUILD) --optional $(PACKAGES_BENCH)
	@mkdir -p build
	@{ cmake --preset release && cmake --build --preset release; } >build/bench.log 2>&1 \
	    || { tail -n 60 build/bench.log; exit 1; }
	@build/release/tools/aee/aee bench

test:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_MODEL) $(PACKAGES_GDB) $(PACKAGES_SCREEN)
	@scripts/run-tests.sh release asan-ubsan tsan hw

asan:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_GDB)
	@scripts/run-tests.sh asan-ubsan

tsan:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_GDB)
	@scripts/run-tests.sh tsan

soak:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_GDB)
	@scripts/soak.sh $(SOAK_SECONDS) $(SOAK_CRASHES) $(SOAK_MINUTES)

hw:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_GDB)
	@mkdir -p build
	@{ cmake --preset release && cmake --build --preset release; } >build/hw.log 2>&1 \
	    || { tail -n 60 build/hw.log; exit 1; }
	@scripts/run-tests.sh hw

lint:
	@scripts/install-deps.sh $(PACKAGES_TEST) --optional $(PACKAGES_LINT)
	@scripts/run-tests.sh --test-preset lint release

format:
	@python3 -B tests/lint/format.py --fix

fuzz:
	@scripts/install-deps.sh $(PACKAGES_TEST) $(PACKAGES_FUZZ)
	@scripts/fuzz.sh $(FUZZ_SECONDS)

clean:
	@rm -rf build
