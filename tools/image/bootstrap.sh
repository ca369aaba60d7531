#!/usr/bin/env bash
# Makes, where they are missing or outdated, the two Debian 13 trees that the gateway image comes from:
#
#   build/image/host        QEMU, OVMF and the tools that make images (Debian 12's QEMU crashes this kernel)
#   build/image/base        what the gateway's root begins with: Debian, kernel, initrd, no agent yet
#   build/image/host/bench   tree: the gateway's root file system; boot: its kernel and initrd
#
# Takes root, for mmdebstrap, and the package from `make deb`. Both downloads run at once.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=build/image here=$PWD/tools/image

say() { echo "image: $*" >&2; }
give_up() { say "$*"; exit 7; }

host_packages=qemu-system-x86,ovmf,systemd-ukify,systemd-boot-efi,sbsigntool,cryptsetup-bin,erofs-utils,mtools
host_packages+=,e2fsprogs,openssl
base_packages=systemd,systemd-sysv,udev,systemd-boot,systemd-cryptsetup,linux-image-cloud-amd64,dracut,zstd,kmod
base_packages+=,cryptsetup-bin,libtss2-tcti-device0t64,python3-tpm2-pytss,python3-cbor2,python3-cryptography
base_packages+=,python3-paho-mqtt,python3-tuf,tpm-udev

# Which tree lies in build/image/NAME is told by NAME.stamp, written last.
is() { [ "$(cat "$image/$1.stamp" 2>/dev/null)" = "$2" ]; }

debootstrap() { # NAME KEY PACKAGES OPTION ...
  local name=$1 key=$2 packages=$3 started=$SECONDS
  shift 3
  ! is "$name" "$key" || return 0
  rm -rf "$image/$name" "$image/$name.stamp"
  mmdebstrap --mode=root --variant=minbase --include="$packages" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$@" trixie "$image/$name" >"$image/$name.log" 2>&1 || {
    tail -n 5 "$image/$name.log" >&2
    say "mmdebstrap did not make $name; all it said is in $image/$name.log"
    return 1
  }
  echo "$key" >"$image/$name.stamp"
  say "$name is there after $((SECONDS - started)) s"
}

[ "$(id -u)" = 0 ] || give_up "making the image takes root; run this as root"
deb=$(ls build/deb/medvouch-agent_*_all.deb 2>/dev/null | tail -n 1) || true
[ -n "$deb" ] || give_up "there is no build/deb/medvouch-agent_*_all.deb; run make deb"
host_key=$(sha256sum <<<"$host_packages")
base_key=$({ echo "$base_packages"; cat "$here/dracut.conf"; } | sha256sum)
root_key=$({ echo "$host_key $base_key"; cat "$deb" "$here"/*; } | sha256sum)
! is root "$root_key" || exit 0

command -v mmdebstrap >/dev/null || {
  say "installing mmdebstrap"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends mmdebstrap >/dev/null 2>&1 ||
    give_up "apt could not install mmdebstrap"
}
mkdir -p "$image"
rm -f "$image/root.stamp"
is host "$host_key" && is base "$base_key" || say "Debian 13 with mmdebstrap, once for the tools, once for the gateway"
debootstrap base "$base_key" "$base_packages" \
  --essential-hook='mkdir -p "$1/etc/dracut.conf.d"' \
  --essential-hook="cp '$here/dracut.conf' \"\$1/etc/dracut.conf.d/medvouch.conf\"" &
base_job=$!
debootstrap host "$host_key" "$host_packages" || { kill "$base_job" 2>/dev/null; exit 1; }
wait "$base_job"

work=$image/host/bench
rm -rf "$work"
mkdir -p "$work/boot"
cp -a "$image/base" "$work/tree"
"$here/customize.sh" "$work/tree" "$deb" >"$image/root.log" 2>&1 || {
  tail -n 5 "$image/root.log" >&2
  say "the root could not be customized; all that was said is in $image/root.log"
  exit 1
}
mv "$work/tree/boot/vmlinuz-"* "$work/boot/vmlinuz"
mv "$work/tree/boot/initrd.img-"* "$work/boot/initrd.img"
rm -f "$work/tree/boot"/*
basename "$work/tree/usr/lib/modules/"* >"$work/boot/uname"
echo "$root_key" >"$image/root.stamp"
