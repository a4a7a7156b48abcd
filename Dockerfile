# The server of one run, which is mounted read-only; docs/serving.md has the commands.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY transformer transformer
RUN pip install --no-cache-dir ".[serve]"

# No root, no home, and nothing to write: what the server keeps is in memory.
RUN useradd --no-create-home --uid 10001 server
USER 10001
WORKDIR /tmp
ENV TF_CPP_MIN_LOG_LEVEL=3 PYTHONDONTWRITEBYTECODE=1

EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health')"]

# It listens on 127.0.0.1 inside the container, where nobody reaches it, unless the command says --host 0.0.0.0.
ENTRYPOINT ["transformer", "serve"]
CMD ["--help"]
