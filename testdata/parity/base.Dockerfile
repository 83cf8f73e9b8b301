# What the cases stand on. `plain` says next to nothing, `base` says everything.
FROM scratch AS plain
COPY --from=context passwd group /etc/
COPY --from=context tool /usr/bin/tool
COPY --from=context tool /bin/sh
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

FROM plain AS base
ENV BASE=1 LANG=C.UTF-8
WORKDIR /srv
LABEL vendor=Base maintainer=someone version=7 org.opencontainers.image.title=base
EXPOSE 1/tcp
VOLUME /base
STOPSIGNAL SIGINT
USER app
ENTRYPOINT ["/usr/bin/tool"]
CMD ["base"]
HEALTHCHECK --interval=9s CMD ["/usr/bin/tool", "ok"]
