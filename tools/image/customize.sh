#!/bin/sh
# What makes a Debian root the gateway's: customize.sh ROOT DEB. The root is read-only for good: what a boot writes goes to
# tmpfs, what stays is on the data partition.
set -eu
root=$1
here=$(dirname "$0")

cp "$2" "$root/tmp/agent.deb"
chroot "$root" dpkg -i /tmp/agent.deb
rm "$root/tmp/agent.deb"

mkdir -p "$root/data" "$root/efi" "$root/etc/ima"
cp "$root/usr/share/medvouch/ima-policy" "$root/etc/ima/ima-policy"
install -m 644 "$here/fstab" "$root/etc/fstab"
install -m 644 "$here/20-wired.network" "$root/etc/systemd/network/20-wired.network"
mkdir -p "$root/etc/systemd/system.conf.d"
install -m 644 "$here/system.conf" "$root/etc/systemd/system.conf.d/medvouch.conf"
mkdir -p "$root/etc/systemd/system/medvouch.service.d"
install -m 644 "$here/console.conf" "$root/etc/systemd/system/medvouch.service.d/console.conf"
rm -f "$root/etc/hostname"
echo gateway >"$root/etc/hostname"
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"

# PCR 15 would hold what no release can predict (machine id, file systems' ids), and the agent owns the TPM itself.
for unit in systemd-pcrmachine systemd-pcrfs-root systemd-pcrfs@ systemd-tpm2-setup systemd-tpm2-setup-early; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
  fstrim.timer getty@tty1.service serial-getty@ttyS0.service systemd-networkd-wait-online.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
chroot "$root" systemctl --quiet enable systemd-networkd.service
chroot "$root" passwd -q -l root

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* \
  "$root"/etc/dracut.conf.d/medvouch.conf
