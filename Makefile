# SPDX-License-Identifier: GPL-2.0
#
# Targets for people; what kbuild needs is in Kbuild.

# The running kernel, or else the newest that modules can be built for.
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) \
	$(shell ls -d /lib/modules/*/build 2>/dev/null | sort -Vr))

# stock, 6.12, 7, debug or arm64: what make check, bench and shell boot.
export KERNEL ?= stock

# Of another architecture than this machine's there are tests, no samples.
arch := $(filter arm64,$(KERNEL))

# A recipe that begins with + shares the job slots of make -j with the makes
# that its script calls.
.PHONY: all samples selftests demo check bench fuzz docs lint shell clean help

all:
	@test -n "$(KDIR)" || { echo "no kernel headers found: install" \
		"linux-headers-amd64, or name them: make KDIR=..." >&2; false; }
	+@module=$$(tools/testing/vm/build-module "$(KDIR)") && \
		cp "$$module" uvfio.ko && echo "built uvfio.ko from $(KDIR)"

samples:
	$(MAKE) -C samples

selftests:
	$(MAKE) -C tools/testing/selftests/uvfio

demo:
	@tools/setup
	+@tools/demo

check:
	@tools/setup $(arch)
	+@tools/testing/check $(TEST)

bench:
	@tools/setup
	+@tools/bench/run

fuzz:
	@tools/setup fuzz
	@tools/fuzz/run $(or $(TIME),60) $(SEED)

docs:
	@mkdir -p build
	@tools/config-doc/generate > build/config-space.rst
	@mv build/config-space.rst Documentation/

lint:
	@tools/setup lint
	+@tools/lint

shell:
	@tools/setup $(arch)
	@$(MAKE) -s samples
	@$(MAKE) -s -C tools/testing/selftests/uvfio ARCH=$(arch)
	+@tools/testing/vm/run -k $(KERNEL) -d test -i -m \
		$$(find $(if $(arch),,build/samples) \
			build/selftests$(arch:%=-%) -maxdepth 1 -type f \
			-perm -u+x -printf '-f %p ')

clean:
	rm -rf build uvfio.ko

help:
	@echo "make              build uvfio.ko (KDIR=... for another kernel)"
	@echo "make demo         watch a process without privilege drive an NVMe"
	@echo "make check        run the tests (TEST=name: one of them)"
	@echo "make bench        count instructions, beside the kernel's vfio-pci"
	@echo "make fuzz         hostile devices for a minute (TIME=seconds, SEED=n)"
	@echo "make shell        a shell in the virtual machine that tests run in"
	@echo "make samples      build the sample drivers"
	@echo "make selftests    build the tests"
	@echo "make docs         Documentation/config-space.rst, from the table"
	@echo "make lint         everything that looks at the source only"
	@echo "make clean        remove what was built"
	@echo
	@echo "KERNEL=6.12 makes check, bench and shell boot that of Debian's backports,"
	@echo "KERNEL=7 the newest 7.x of Debian 13's, KERNEL=debug one with KASAN and"
	@echo "lockdep, built before by tools/testing/vm/debug-kernel. KERNEL=arm64 makes"
	@echo "check and shell boot that of Debian for this architecture, in a machine"
	@echo "with an SMMUv3."
