# One image for the service and for workers; the command decides: `serve` (default), `worker …`, `migrate`, `listen …`.
FROM python:3.11-slim

WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY events events
COPY queue_service queue_service
COPY taskbus taskbus
RUN pip install --no-cache-dir '.[server,postgres,s3]' && rm -rf /build

# The commands that a worker runs have the rights of this account, and no others.
RUN useradd --create-home --shell /usr/sbin/nologin taskbus
USER taskbus
WORKDIR /home/taskbus
# A volume mounted there takes over its owner.
RUN mkdir artifacts

ENTRYPOINT ["taskbus"]
CMD ["serve"]
