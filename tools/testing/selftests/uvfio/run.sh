#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: run.sh [TEST...]
#
# In the test machine, as root: load the module, run the test programs beside
# this script (all, or those named), unload the module and see that nothing of
# it is left. TAP goes to standard output, each program's in its turn. The exit
# status is 0 if every test passed.
set -u

here=$(dirname "$0")
module=${MODULE:-/lib/uvfio.ko}
status=0

# The two ways of a test program to end; anything else, a test was lost.
run() {
	echo "# selftests: uvfio: $1"
	start=$(date +%s)
	"$here/$1"
	case $? in
	0) ;;
	1) status=1 ;;
	*) echo "not ok - $1 did not run to its end"; status=1 ;;
	esac
	echo "# $1 took $(($(date +%s) - start)) s"
}

count=0
# check NAME COMMAND...: one line of TAP
check() {
	count=$((count + 1))
	name=$1
	shift
	if "$@"; then
		echo "ok $count $name"
	else
		echo "not ok $count $name"
		status=1
	fi
}

# A domain that an unbind took from its user is freed in the background.
unload() {
	for _ in 1 2 3 4 5; do
		rmmod uvfio && return
		sleep 1
	done
	return 1
}

absent() {
	for file; do
		if [ -e "$file" ]; then
			echo "# $file is still there"
			return 1
		fi
	done
}

unmentioned() {
	! grep uvfio "$@" > /tmp/mentions || {
		sed 's/^/# /' /tmp/mentions
		return 1
	}
}

no_page_is_pinned() {
	echo 1 > /proc/sys/vm/stat_refresh
	# shellcheck disable=SC2046 # two numbers, hence two words
	set -- $(awk '/^nr_foll_pin_/ { print $2 }' /proc/vmstat)
	echo "# pages pinned and unpinned: $*"
	[ $# = 2 ] && [ "$1" = "$2" ]
}

# Of those that the module had: elsewhere, firmware may have left it on.
no_device_masters_the_bus() {
	for dir; do
		command=$(dd if="$dir/config" bs=1 skip=4 count=1 2>/dev/null |
			od -An -tu1)
		if [ $((command & 4)) != 0 ]; then
			echo "# ${dir##*/} can still do DMA"
			return 1
		fi
	done
	[ $# != 0 ]
}

tests=$*
if [ -z "$tests" ]; then
	for file in "$here"/*_test "$here"/*_test32; do
		[ ! -x "$file" ] || tests="$tests ${file##*/}"
	done
fi
if ! insmod "$module"; then
	echo "Bail out! $module cannot be loaded"
	exit 1
fi
for test in $tests; do
	run "$test"
done

echo "# selftests: uvfio: what is left behind"
echo "TAP version 13"
echo "1..6"
bound=$(for dir in /sys/bus/pci/drivers/uvfio/*:*; do readlink -f "$dir"; done)
check "unload.rmmod" unload
check "unload.no_node" absent /dev/vfio* /dev/uiommu
check "unload.no_sysfs" absent /sys/class/uvfio /sys/module/uvfio \
	/sys/bus/pci/drivers/uvfio /sys/bus/pci/devices/*/uvfio \
	/sys/class/misc/uiommu
check "unload.no_resource" unmentioned /proc/interrupts /proc/iomem \
	/proc/ioports /proc/devices /proc/misc
check "unload.no_pinned_page" no_page_is_pinned
# shellcheck disable=SC2086 # one word for each device
check "unload.no_bus_master" no_device_masters_the_bus $bound
exit $status
