# syntax=docker/dockerfile:1
ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
# The C compiler builds aws-lc, the crypto provider, and with make jemalloc, the heap.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ cmake libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
# The program carries the list of its crates: scanners of images read it.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src

# The dependencies alone, in a layer that changes with Cargo.lock only, and with the profile, where `make profile` has
# made one.
COPY Cargo.toml Cargo.lock callvault.profdat[a] ./
COPY .cargo .cargo
COPY .ci/program .ci/tool .ci/
COPY fuzz/Cargo.toml fuzz/
# The targets that Cargo.toml names ([[test]], [[bench]], …) are not here yet: cut them out.
RUN sed -i '/^\[\[/,/^$/d' Cargo.toml fuzz/Cargo.toml \
    && mkdir src fuzz/src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs fuzz/src/lib.rs \
    && .ci/program \
    && rm -r src fuzz target/release/callvault target/release/deps/*callvault* \
        target/release/.fingerprint/callvault-*

COPY . .
# From here on, since it changes with every commit.
ARG CALLVAULT_REVISION=unknown
RUN CALLVAULT_REVISION="${CALLVAULT_REVISION}" .ci/program

# Neither a shell nor a package manager; CA certificates and time zones are in it.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG CALLVAULT_REVISION=unknown
ARG CALLVAULT_VERSION=dev
LABEL org.opencontainers.image.title="callvault" \
      org.opencontainers.image.description="Archives call recordings: RabbitMQ messages in, CC-FS recordings to S3, events out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${CALLVAULT_VERSION}" \
      org.opencontainers.image.revision="${CALLVAULT_REVISION}"
COPY --from=build /src/target/release/callvault /usr/local/bin/callvault
COPY --from=build /src/LICENSE /usr/share/doc/callvault/LICENSE

# Probes and Prometheus come from outside the container.
ENV CALLVAULT_CONFIG=/etc/callvault/callvault.toml \
    CALLVAULT__HTTP__LISTEN=0.0.0.0:9464 \
    CALLVAULT__LOG__FORMAT=json
EXPOSE 9464
USER nonroot
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["/usr/local/bin/callvault", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/callvault"]
CMD ["run"]
