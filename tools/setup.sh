#!/usr/bin/env bash
# Installs what medvouch needs to be built, tested and demonstrated, and only what is missing: system packages with apt,
# then .venv with the project in it. A second run finds everything in place and says nothing.
#
#   tools/setup.sh            needs Python >= 3.11; exits 7 where a part is missing that it cannot install
#   tools/setup.sh --bench    likewise, with RAUC, which the bench measures updates against, and what Keylime loads
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
give_up() { say "$*"; exit 7; }

# mosquitto lives in sbin, which an ordinary user's PATH may lack.
has() { PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin command -v "$1" >/dev/null; }

# What links to it is not needed, but the library's own package has another name in every other Debian.
has_library() { [[ $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null) == *"$1.so"* ]]; }

# The first Python that fits, as itself even where PATH leads to an activated .venv, which is about to be made anew.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    has "$name" && "$name" - <<'PYTHON' 2>/dev/null && return
import os, sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
PYTHON
  done
  return 0
}

# For each thing that is not there, the Debian packages that bring it; Python's headers and venv are packages apart.
missing_packages() {
  if [ "$for_bench" ]; then
    has rauc || echo rauc
    has mksquashfs || echo squashfs-tools
    has openssl || echo openssl
    has_library libefivar || echo libefivar-dev
  fi
  has gcc || echo gcc libc6-dev
  has dbus-daemon || echo dbus
  has faketime || echo faketime
  has fwupdmgr || echo fwupd
  has mosquitto || echo mosquitto
  has mosquitto_sub || echo mosquitto-clients
  has pkg-config || echo pkg-config
  pkg-config --exists tss2-esys tss2-tctildr 2>/dev/null || echo libtss2-dev
  has sfdisk || echo fdisk
  has softhsm2-util || echo softhsm2
  has swtpm || echo swtpm
  has tpm2-abrmd || echo tpm2-abrmd
  has_library libtss2-tcti-tabrmd || echo libtss2-tcti-tabrmd-dev
  has tpm2_eventlog || echo tpm2-tools
  [ -e /usr/share/zoneinfo/Europe/Berlin ] || echo tzdata
  if [ -z "$python" ]; then
    echo python3 python3-dev python3-venv
  else
    "$python" - <<'PYTHON'
import importlib.util, pathlib, sysconfig
if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
    print("python3-dev")
if not importlib.util.find_spec("ensurepip"):
    print("python3-venv")
PYTHON
  fi
}

# What .venv was made from, by whom and where; an editable install remembers its folder.
stamp_key() {
  { "$python" -VV
    echo "$python" "$PWD"
    cat pyproject.toml simulator/pyproject.toml constraints.txt tools/setup.sh
  } | sha256sum
}

install_packages() { # PACKAGE ...
  local as_root=() command="apt-get install --no-install-recommends $*"
  has apt-get || give_up "missing, by their Debian names: $*. Install your system's equivalents and run this again."
  if [ "$(id -u)" != 0 ]; then
    has sudo || give_up "missing: $*. There is no sudo; as root, run: $command"
    as_root=(sudo)
  fi
  say "installing system packages${as_root:+ through sudo}: $*"
  mkdir -p build
  { "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
  } >build/apt.log 2>&1 || {
    tail -n 15 build/apt.log >&2
    give_up "apt could not install: $* (all it said: build/apt.log); by hand, as root: $command"
  }
}

pip_install() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
    -e '.[agent,collector,release,pkcs11,dev]' -e simulator >&2
}

install_project() {
  say "making .venv with $("$python" --version) and installing medvouch into it; tpm2-pytss compiles, a minute or so"
  "$python" -m venv --clear .venv
  pip_install || {
    say "trying once more without this machine's pip configuration, which may point to what is not there"
    PIP_CONFIG_FILE=/dev/null pip_install
  } || give_up "pip could not install the project. See its message above (is the network there?) and run this again."
  stamp_key >"$stamp.new"
  mv "$stamp.new" "$stamp" # last: an interrupted run leaves no stamp
}

for_bench=
[ "${1:-}" != --bench ] || for_bench=yes
stamp=.venv/.setup-stamp # inside .venv, so that `venv --clear` takes it away first
python=$(find_python)
missing=($(missing_packages)) # one word each
if [ ${#missing[@]} = 0 ] && [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(stamp_key)" ]; then
  exit 0
fi
# One at a time: whoever waited finds everything in place. -o: no daemon that apt starts inherits the lock.
if [ -z "${MEDVOUCH_SETUP_LOCKED:-}" ] && has flock; then
  MEDVOUCH_SETUP_LOCKED=1 exec flock -o tools/setup.sh tools/setup.sh "$@"
fi
if [ ${#missing[@]} != 0 ]; then
  install_packages "${missing[@]}"
  python=$(find_python)
  missing=($(missing_packages))
  [ -n "$python" ] || give_up "python3 is older than the 3.11 that medvouch needs; install a later one"
  [ ${#missing[@]} = 0 ] || give_up "installed, and still not found: ${missing[*]} (for $python)"
fi
install_project
say "done"
