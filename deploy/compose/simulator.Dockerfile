# syntax=docker/dockerfile:1
# The simulator of CC-FS (examples/simulator), for compose.yaml; built from the root of the repository.
ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ cmake libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Quickly: it is to be tried on, not to be shipped.
RUN CARGO_PROFILE_DEV_DEBUG=false cargo build --locked --example simulator

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/debug/examples/simulator /usr/local/bin/simulator
USER nonroot
ENTRYPOINT ["/usr/local/bin/simulator"]
