# The platform in production: the web server, and with another command the Celery worker and beat (docker-compose.yml).

FROM python:3.12-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.lock /tmp/
# Every package has a fixed version and a fixed hash; all of them come as wheels, so there is no compiler here.
RUN /opt/venv/bin/python -m pip install --require-hashes --no-deps --only-binary=:all: --requirement /tmp/requirements.lock

FROM python:3.12-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin portail
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
# The code and the collected files belong to root: the running site can write its uploads and its schedule, nothing else.
# collectstatic reads the settings, which insist on these variables; none of the values stays in the image.
RUN SECRET_KEY=construction DATABASE_URL=postgres://construction@127.0.0.1/construction REDIS_URL=redis://127.0.0.1/0 \
    SITE_URL=https://construction.invalid ALLOWED_HOSTS=construction.invalid \
    python manage.py collectstatic --noinput --verbosity 0 \
    && mkdir -p var/media var/taches && chown portail: var/media var/taches
USER portail
ENV BIND=0.0.0.0:8000 CELERY_BEAT_SCHEDULE_FILENAME=/app/var/taches/celerybeat
EXPOSE 8000
VOLUME ["/app/var/media"]
CMD ["gunicorn", "-c", "portal/gunicorn.py", "portal.wsgi"]
