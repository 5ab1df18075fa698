#!/usr/bin/env bash
# Installs the real dtool from PyPI for tests: one virtual environment for each version of dtool-s3, side by side.
# Usage: real-dtool.sh DIR   Makes DIR/0.10.0, DIR/0.14.0 and DIR/0.14.1 where they are missing, and prints the variables
# that tell the tests where they are, for `eval`.
# Debian packages: python3-venv
set -eu
dir=${1:?usage: real-dtool.sh DIR}
mkdir -p "$dir"
dir=$(realpath "$dir")

make_environment() {
  [ -e "$dir/$1/ready" ] && return
  rm -rf "${dir:?}/$1"
  python3 -m venv "$dir/$1"
  # Its commands find each other by pkg_resources, which later setuptools have no more and earlier ones get wrong.
  "$dir/$1/bin/pip" --quiet --disable-pip-version-check install setuptools==80.9.0 \
    dtoolcore==3.19.0 "dtool-s3==$1" dtool-ecs==0.5.0 dtool-cli==0.7.1 dtool-info==0.16.2 dtool-create==0.23.4 \
    dtool-annotation==0.1.1 dtool-tag==0.1.1 dtool-overlay==0.3.1 ruamel.yaml==0.18.6 >&2
  touch "$dir/$1/ready"
}

pids=()
for version in 0.10.0 0.14.0 0.14.1; do
  make_environment "$version" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
for version in 0.10.0 0.14.0 0.14.1; do
  echo "export DTOOL_ECS_TEST_PYTHON_${version//./_}=$dir/$version/bin/python"
done
