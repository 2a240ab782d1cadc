#!/bin/busybox sh
# The first program of the Linux side. The kernel hands it what it does not know of its own command
# line: METHOD, BACKEND and EXTENT.

export PATH=/bin
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev

# Large pages, for memory that a device can be told of.
echo 4 >/proc/sys/vm/nr_hugepages

echo "note: kernel: $(busybox uname -r)"
echo "note: command line: $(busybox cat /proc/cmdline)"
for file in /sys/devices/system/cpu/vulnerabilities/*; do
    state=$(busybox cat "$file")
    [ "$state" = "Not affected" ] || echo "note: ${file##*/}: $state"
done

result=failure
linux-load "$METHOD" "$BACKEND" "$EXTENT" && result=success

# Ends the emulator. Where that does not work, or the kernel has panicked, the machine is reset,
# which is told apart from success.
linux-load end "$result" now
busybox reboot -f
