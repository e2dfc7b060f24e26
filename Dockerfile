# An image with the program and nothing to build it with.
#
#   docker build -t wiretoll .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:8080:8080 \
#     -v ./config:/etc/wiretoll:ro -v wiretoll:/var/lib/wiretoll wiretoll
#
# wiretoll.toml lies in ./config with LND's certificate and the macaroon, readable by the user 10001. Nothing is written
# outside of the volume. deploy/docker-compose.yml says the same for compose.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release --bin wiretoll

FROM debian:bookworm-slim
RUN groupadd --gid 10001 wiretoll \
    && useradd --uid 10001 --gid wiretoll --home-dir /var/lib/wiretoll --no-create-home --shell /usr/sbin/nologin wiretoll \
    && install -d -o wiretoll -g wiretoll -m 0700 /var/lib/wiretoll \
    && install -d /etc/wiretoll
COPY --from=build /source/target/release/wiretoll /usr/local/bin/wiretoll

# The database file and the instance key lie in the volume, unless the configuration gives them absolute paths. The
# host decides by its port mapping who reaches the port.
ENV WIRETOLL_SERVICE__DATA_FOLDER=/var/lib/wiretoll \
    WIRETOLL_SERVICE__LISTEN=0.0.0.0:8080

USER 10001:10001
WORKDIR /var/lib/wiretoll
VOLUME /var/lib/wiretoll
# Customers; and Prometheus, where WIRETOLL_METRICS__LISTEN is set.
EXPOSE 8080 9273
ENTRYPOINT ["/usr/local/bin/wiretoll"]
CMD ["serve", "--config", "/etc/wiretoll/wiretoll.toml"]
