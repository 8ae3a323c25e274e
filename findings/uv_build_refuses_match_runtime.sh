#!/usr/bin/env bash
# uv 0.13.9: a project that lists a package of its environment as a build requirement (`extra-build-dependencies` with
# `match-runtime = true`, what uv's documentation advises for extensions of torch) installs by `uv sync` and by
# `uv pip install`, but `uv build` stops: the project "does not declare static metadata". It does: name, version and
# dependencies are in its pyproject.toml. With --no-config, which leaves the setting out, the same project builds.
#
# So an extension with this setting in its own pyproject.toml has to tell whoever makes its wheels with uv.
#
# Seen (without torch: six stands for it):
#   uv sync                  done
#   uv pip install           done
#   uv build                 Extra build requirement `six` was declared with `match-runtime = true`, but `thing` does not
#                            declare static metadata, making runtime-matching impossible
#   uv build --no-config     done
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
uv="$folder/tools/bin/uv"
export UV_CACHE_DIR="$folder/cache"

mkdir -p "$folder/project/src/thing"
touch "$folder/project/src/thing/__init__.py"
cat > "$folder/project/pyproject.toml" <<'TOML'
[build-system]
requires = ["hatchling==1.27.0"]
build-backend = "hatchling.build"

[project]
name = "thing"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["six==1.17.0"]

[tool.uv.extra-build-dependencies]
thing = [{ requirement = "six", match-runtime = true }]
TOML
cd "$folder/project"
python=$(command -v python3)

"$uv" sync --quiet --python "$python"
echo "uv sync                  done"
"$uv" venv --quiet --python "$python" "$folder/env"
"$uv" pip install --quiet --python "$folder/env/bin/python" .
echo "uv pip install           done"
if said=$("$uv" build --wheel --python "$python" --out-dir "$folder/wheels" . 2>&1); then
  echo "uv build                 done, which is new"
  exit 1
fi
grep -q "does not declare static metadata, making runtime-matching impossible" <<< "$said"
echo "uv build                 refused: $(grep cause <<< "$said" | xargs -0)"
"$uv" build --quiet --wheel --no-config --python "$python" --out-dir "$folder/wheels" .
ls "$folder/wheels" | grep -q 'thing-1.0-py3-none-any.whl'
echo "uv build --no-config     done"
