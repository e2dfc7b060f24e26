# An image with the program and nothing to build it with.
#
#   docker build -t wiretoll .
#   docker run -v ./wiretoll.toml:/etc/wiretoll/wiretoll.toml:ro -v wiretoll:/var/lib/wiretoll -p 8080:8080 wiretoll
#
# LND's certificate and macaroon are best mounted beside wiretoll.toml, readable by the user 10001.

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

USER wiretoll
WORKDIR /var/lib/wiretoll
VOLUME /var/lib/wiretoll
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/wiretoll"]
CMD ["serve", "--config", "/etc/wiretoll/wiretoll.toml"]
