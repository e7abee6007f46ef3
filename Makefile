# « make » lists the targets. Everything runs from .venv, which is made here from the hash-pinned lock.

# GNU make 3.81 and later; recipes are plain sh. No path is absolute: the checkout may stand anywhere, spaces included.
.DEFAULT_GOAL := help
.PHONY: help demo demo-reset test check check-style check-templates check-types check-layers check-django bench locks format clean FORCE

PY := .venv/bin/python
STAMP := .venv/.installed
# Options for pytest: make test ARGS="-k panier"
ARGS :=

help: ## cette liste
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## la plateforme avec ses données de démonstration, sur http://127.0.0.1:8000 (PORT=8001 make demo)
	@PORT="$(PORT)" exec $(PY) -m portal.demo.run

demo-reset: $(STAMP) ## arrête la démonstration et efface ses données
	@exec $(PY) -m portal.demo.run --reset

test: $(STAMP) ## tous les tests : PostgreSQL, Valkey et navigateur réels (make test ARGS="-k panier")
	@$(PY) -m tests.chromium
	@exec $(PY) -m pytest -n auto $(ARGS)

check: check-style check-templates check-types check-layers check-django ## style, gabarits, types, couches, migrations, réglages de production

check-style: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

check-templates: $(STAMP)
	$(PY) -m djlint templates --lint --quiet

check-types: $(STAMP)
	$(PRODUCTION) DEMO=on ALLOWED_HOSTS=127.0.0.1 $(PY) -m mypy

check-layers: $(STAMP)
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

# Settings such as production has; the servers they name need not exist, neither check talks to one.
PRODUCTION = SECRET_KEY="$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(60))')" \
	DATABASE_URL=postgres://portail@127.0.0.1:1/portail REDIS_URL=redis://127.0.0.1:1/0 EMAIL_URL=smtp://127.0.0.1:25 \
	SITE_URL=https://citoyens.exemple.fr ALLOWED_HOSTS=citoyens.exemple.fr CSRF_TRUSTED_ORIGINS=https://citoyens.exemple.fr \
	DEMO=off DEBUG=off CARD_PROVIDERS= BEHIND_PROXY=on

check-django: $(STAMP)
	$(PRODUCTION) $(PY) manage.py check --deploy --fail-level WARNING
	$(PRODUCTION) SITE_URL=http://127.0.0.1:8000 DEMO=on ALLOWED_HOSTS=127.0.0.1 $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

bench: $(STAMP) ## mesures : une année réaliste, un tableau
	@exec $(PY) -m portal.demo.bench $(ARGS)

format: $(STAMP) ## remet le code en forme
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# uv resolves for every platform at once, which pip cannot; it is needed here only, so it has an environment of its own.
UV := var/uv/bin/uv
COMPILE := $(UV) pip compile pyproject.toml
FIXED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url
locks: $(STAMP) ## recalcule requirements.lock et requirements-dev.lock depuis pyproject.toml (ARGS=--upgrade)
	@test -x $(UV) || { $(PY) -m venv var/uv && var/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	@UV_CUSTOM_COMPILE_COMMAND="make locks" $(COMPILE) $(FIXED) $(ARGS) --quiet -o requirements.lock
	@UV_CUSTOM_COMPILE_COMMAND="make locks" $(COMPILE) --group dev $(FIXED) $(ARGS) --quiet -o requirements-dev.lock
	@echo "requirements.lock et requirements-dev.lock sont à jour."

clean: ## efface ce qui se refait : caches, fichiers rassemblés, rapports de tests (.venv et la démonstration restent)
	rm -rf var/static var/uv test-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

# A .venv whose Python is gone (upgraded system) has to be made again although its stamp is there.
ifneq ($(shell $(PY) -c 'print("ok")' 2>/dev/null),ok)
$(STAMP): FORCE
endif
$(STAMP): requirements-dev.lock
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  found=$$python; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	  exec "$$python" -I portal/demo/install.py; \
	done; \
	if [ -n "$$found" ]; then \
	  echo "Il manque à $$found le module venv. Sous Debian ou Ubuntu : sudo apt-get install python3-venv" >&2; \
	elif command -v python3 >/dev/null; then \
	  echo "$$(python3 --version) est trop ancien, il faut Python 3.11 ou plus récent. Debian 12, Ubuntu 24.04 et suivants : sudo apt-get install python3 python3-venv" >&2; \
	else \
	  echo "Python 3.11 ou plus récent manque. Sous Debian ou Ubuntu : sudo apt-get install python3 python3-venv" >&2; \
	fi; exit 1
