#!/bin/bash
# tools.sh python|sipp|test|bench: sees to the Debian packages that a make target needs.
# As root they are installed; otherwise they are named, and the target stops.
# tools.sh which-python: prints the Python 3.11 to use, Debian's before any other.
set -eu
python=python3.11
for candidate in /usr/bin/python3.11 python3.11; do
  if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then python=$candidate; break; fi
done
compiler="gcc libc6-dev python3-dev"
case "${1:-}" in
  which-python) echo "$python"; exit 0 ;;
  python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null && exit 0
    want="python3.11 python3.11-venv"
    ;;
  sipp) want="sip-tester openssl" ;;
  test) want="sip-tester openssl iproute2 strace postgresql baresip-core $compiler" ;;
  bench) want="sip-tester openssl iproute2 util-linux kamailio kamailio-sqlite-modules kamailio-extra-modules $compiler" ;;
  *) echo "usage: tools.sh which-python|python|sipp|test|bench" >&2; exit 2 ;;
esac
missing=""
for package in $want; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "These Debian packages are missing:$missing" >&2
  echo "Install them with: sudo apt-get install$missing" >&2
  exit 1
fi
echo "installing:$missing"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
