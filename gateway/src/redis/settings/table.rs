//! Every parameter name of Redis 7.0.15, with its kind and what it begins with here.
//!
//! Names, kinds and bounds are those that `CONFIG GET *` and the refusals of `CONFIG SET` tell. What a parameter begins
//! with is the truth of a gateway where it says something about one (`appendfsync always`), else what Redis begins with.

use super::kind::Kind::{self, *};

/// A parameter.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Its name of old.
    pub(super) alias: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) change: Change,
    /// Only shown to those who know its name.
    pub(super) is_hidden: bool,
    /// Whether it changes what this gateway does; all others are kept and shown, no more.
    pub(super) works: bool,
}

/// Who may change a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Anybody,
    /// Nobody while the process runs.
    Nobody,
    /// Nobody, because a client could harm the machine with it.
    Protected,
}

const fn row(name: &'static str, kind: Kind, default: &'static str) -> Row {
    Row { name, alias: None, kind, default, change: Change::Anybody, is_hidden: false, works: false }
}

impl Row {
    const fn also(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn fixed(mut self) -> Self {
        self.change = Change::Nobody;
        self
    }

    const fn protected(mut self) -> Self {
        self.change = Change::Protected;
        self
    }

    const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    const fn works(mut self) -> Self {
        self.works = true;
        self
    }

    /// Whether this is its name, or its name of old, in any case of letters.
    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

const I32_MIN: i128 = i32::MIN as i128;
const I32_MAX: i128 = i32::MAX as i128;
const I64_MAX: i128 = i64::MAX as i128;
const U64_MAX: i128 = u64::MAX as i128;

/// In alphabetical order.
pub(super) const ROWS: &[Row] = &[
    row("acl-pubsub-default", OneOf(&["allchannels", "resetchannels"]), "resetchannels"),
    row("aclfile", Text, "").fixed(),
    row("acllog-max-len", Integer(0, I64_MAX), "128"),
    row("active-defrag-cycle-max", Integer(1, 99), "25"),
    row("active-defrag-cycle-min", Integer(1, 99), "1"),
    row("active-defrag-ignore-bytes", Memory(1, I64_MAX), "104857600"),
    row("active-defrag-max-scan-fields", Integer(1, I64_MAX), "1000"),
    row("active-defrag-threshold-lower", Integer(0, 1000), "10"),
    row("active-defrag-threshold-upper", Integer(0, 1000), "100"),
    row("active-expire-effort", Integer(1, 10), "1"),
    row("activedefrag", YesNo, "no"),
    row("activerehashing", YesNo, "yes"),
    row("always-show-logo", Text, "no").fixed(),
    row("aof-disable-auto-gc", YesNo, "no"),
    row("aof-load-truncated", YesNo, "yes"),
    row("aof-rewrite-incremental-fsync", YesNo, "yes"),
    row("aof-timestamp-enabled", YesNo, "no"),
    row("aof-use-rdb-preamble", YesNo, "yes"),
    row("aof_rewrite_cpulist", Text, "").fixed(),
    row("appenddirname", Text, "").fixed(),
    row("appendfilename", Text, "").fixed(),
    row("appendfsync", OneOf(&["everysec", "always", "no"]), "always"),
    row("appendonly", YesNo, "yes"),
    row("auto-aof-rewrite-min-size", Memory(0, I64_MAX), "67108864"),
    row("auto-aof-rewrite-percentage", Integer(0, I32_MAX), "100"),
    row("bgsave_cpulist", Text, "").fixed(),
    row("bind", Address, ""),
    row("bind-source-addr", Text, ""),
    row("bio_cpulist", Text, "").fixed(),
    row("busy-reply-threshold", Integer(0, I64_MAX), "5000").also("lua-time-limit"),
    row(
        "client-output-buffer-limit",
        BufferLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    row("client-query-buffer-limit", Memory(1 << 20, I64_MAX), "1073741824"),
    row("cluster-allow-pubsubshard-when-down", YesNo, "yes"),
    row("cluster-allow-reads-when-down", YesNo, "no"),
    row("cluster-allow-replica-migration", YesNo, "yes"),
    row("cluster-announce-bus-port", Integer(0, 65535), "0"),
    row("cluster-announce-hostname", Hostname, ""),
    row("cluster-announce-ip", Text, ""),
    row("cluster-announce-port", Integer(0, 65535), "0"),
    row("cluster-announce-tls-port", Integer(0, 65535), "0"),
    row("cluster-config-file", Text, "").fixed(),
    row("cluster-enabled", Text, "no").fixed(),
    row("cluster-link-sendbuf-limit", Memory(0, U64_MAX), "0"),
    row("cluster-migration-barrier", Integer(0, I32_MAX), "1"),
    row("cluster-node-timeout", Integer(0, I64_MAX), "15000"),
    row("cluster-port", Text, "0").fixed(),
    row("cluster-preferred-endpoint-type", OneOf(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    row("cluster-replica-no-failover", YesNo, "no").also("cluster-slave-no-failover"),
    row("cluster-replica-validity-factor", Integer(0, I32_MAX), "10").also("cluster-slave-validity-factor"),
    row("cluster-require-full-coverage", YesNo, "yes"),
    row("crash-log-enabled", YesNo, "no"),
    row("crash-memcheck-enabled", YesNo, "no"),
    row("daemonize", Text, "no").fixed(),
    row("databases", Text, "16").fixed(),
    row("dbfilename", Text, "").protected(),
    row("dir", Text, "").protected(),
    row("disable-thp", Text, "no").fixed(),
    row("dynamic-hz", YesNo, "yes"),
    row("enable-debug-command", Text, "no").fixed(),
    row("enable-module-command", Text, "no").fixed(),
    row("enable-protected-configs", Text, "no").fixed(),
    row("hash-max-listpack-entries", Integer(0, I64_MAX), "512").also("hash-max-ziplist-entries"),
    row("hash-max-listpack-value", Memory(0, I64_MAX), "64").also("hash-max-ziplist-value"),
    row("hll-sparse-max-bytes", Memory(0, I64_MAX), "3000"),
    row("hz", Integer(0, I32_MAX), "10"),
    row("ignore-warnings", Text, ""),
    row("io-threads", Text, "1").fixed(),
    row("io-threads-do-reads", Text, "no").fixed(),
    row("jemalloc-bg-thread", YesNo, "no"),
    row("key-load-delay", Integer(I32_MIN, I32_MAX), "0").hidden(),
    row("latency-monitor-threshold", Integer(0, I64_MAX), "0").works(),
    row("latency-tracking", YesNo, "yes").works(),
    row("latency-tracking-info-percentiles", Percentiles, "50 99 99.9").works(),
    row("lazyfree-lazy-eviction", YesNo, "no"),
    row("lazyfree-lazy-expire", YesNo, "no"),
    row("lazyfree-lazy-server-del", YesNo, "no"),
    row("lazyfree-lazy-user-del", YesNo, "no"),
    row("lazyfree-lazy-user-flush", YesNo, "no"),
    row("lfu-decay-time", Integer(0, I32_MAX), "1"),
    row("lfu-log-factor", Integer(0, I32_MAX), "10"),
    row("list-compress-depth", Integer(0, I32_MAX), "0"),
    row("list-max-listpack-size", Integer(I32_MIN, I32_MAX), "-2").also("list-max-ziplist-size"),
    row("logfile", Text, "").fixed(),
    row("loglevel", OneOf(&["debug", "verbose", "notice", "warning"]), "notice"),
    row("lua-enable-deprecated-api", Text, "no").fixed().hidden(),
    row("masterauth", Text, ""),
    row("masteruser", Text, ""),
    row("maxclients", Integer(1, u32::MAX as i128), "0").works(),
    row("maxmemory", Memory(0, U64_MAX), "0"),
    row("maxmemory-clients", MemoryOrPercent, "0"),
    row("maxmemory-eviction-tenacity", Integer(0, 100), "10"),
    row(
        "maxmemory-policy",
        OneOf(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
        "noeviction",
    ),
    row("maxmemory-samples", Integer(1, I32_MAX), "5"),
    row("min-replicas-max-lag", Integer(0, I32_MAX), "10").also("min-slaves-max-lag"),
    row("min-replicas-to-write", Integer(0, I32_MAX), "0").also("min-slaves-to-write"),
    row("no-appendfsync-on-rewrite", YesNo, "no"),
    row("notify-keyspace-events", Events, ""),
    row("oom-score-adj", OneOf(&["no", "yes", "relative", "absolute"]), "no"),
    row("oom-score-adj-values", OomValues, "0 200 800"),
    row("pidfile", Text, "").fixed(),
    row("port", Listener, "0"),
    row("proc-title-template", Text, ""),
    row("propagation-error-behavior", OneOf(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    row("protected-mode", YesNo, "no"),
    row("proto-max-bulk-len", Memory(1 << 20, I64_MAX), "33554432"),
    row("rdb-del-sync-files", YesNo, "no"),
    row("rdb-key-save-delay", Integer(I32_MIN, I32_MAX), "0").hidden(),
    row("rdb-save-incremental-fsync", YesNo, "yes"),
    row("rdbchecksum", Text, "yes").fixed(),
    row("rdbcompression", YesNo, "yes"),
    row("repl-backlog-size", Memory(1, I64_MAX), "1048576"),
    row("repl-backlog-ttl", Integer(0, I64_MAX), "3600"),
    row("repl-disable-tcp-nodelay", YesNo, "no"),
    row("repl-diskless-load", OneOf(&["disabled", "on-empty-db", "swapdb"]), "disabled"),
    row("repl-diskless-sync", YesNo, "yes"),
    row("repl-diskless-sync-delay", Integer(0, I32_MAX), "5"),
    row("repl-diskless-sync-max-replicas", Integer(0, I32_MAX), "0"),
    row("repl-ping-replica-period", Integer(1, I32_MAX), "10").also("repl-ping-slave-period"),
    row("repl-timeout", Integer(1, I32_MAX), "60"),
    row("replica-announce-ip", Text, "").also("slave-announce-ip"),
    row("replica-announce-port", Integer(0, 65535), "0").also("slave-announce-port"),
    row("replica-announced", YesNo, "yes"),
    row("replica-ignore-disk-write-errors", YesNo, "no"),
    row("replica-ignore-maxmemory", YesNo, "yes").also("slave-ignore-maxmemory"),
    row("replica-lazy-flush", YesNo, "no").also("slave-lazy-flush"),
    row("replica-priority", Integer(0, I32_MAX), "100").also("slave-priority"),
    row("replica-read-only", YesNo, "yes").also("slave-read-only"),
    row("replica-serve-stale-data", YesNo, "yes").also("slave-serve-stale-data"),
    row("replicaof", Text, "").also("slaveof").fixed(),
    row("requirepass", Text, "").works(),
    row("sanitize-dump-payload", OneOf(&["no", "yes", "clients"]), "no"),
    row("save", SavePoints, ""),
    row("server_cpulist", Text, "").fixed(),
    row("set-max-intset-entries", Integer(0, I64_MAX), "512"),
    row("set-proc-title", Text, "no").fixed(),
    row("shutdown-on-sigint", AnyOf(&["default", "save", "nosave", "now", "force"]), "default"),
    row("shutdown-on-sigterm", AnyOf(&["default", "save", "nosave", "now", "force"]), "default"),
    row("shutdown-timeout", Integer(0, I32_MAX), "10"),
    row("slowlog-log-slower-than", Integer(-1, I64_MAX), "10000").works(),
    row("slowlog-max-len", Integer(0, I64_MAX), "128").works(),
    row("socket-mark-id", Text, "0").fixed(),
    row("stop-writes-on-bgsave-error", YesNo, "yes"),
    row("stream-node-max-bytes", Memory(0, I64_MAX), "4096"),
    row("stream-node-max-entries", Integer(0, I64_MAX), "100"),
    row("supervised", Text, "no").fixed(),
    row("syslog-enabled", Text, "no").fixed(),
    row("syslog-facility", Text, "local0").fixed(),
    row("syslog-ident", Text, "redis").fixed(),
    row("tcp-backlog", Text, "511").fixed(),
    row("tcp-keepalive", Integer(0, I32_MAX), "0"),
    row("timeout", Integer(0, I32_MAX), "0"),
    row("tls-auth-clients", OneOf(&["no", "yes", "optional"]), "no"),
    row("tls-ca-cert-dir", Text, ""),
    row("tls-ca-cert-file", Text, ""),
    row("tls-cert-file", Text, ""),
    row("tls-ciphers", Text, ""),
    row("tls-ciphersuites", Text, ""),
    row("tls-client-cert-file", Text, ""),
    row("tls-client-key-file", Text, ""),
    row("tls-client-key-file-pass", Text, ""),
    row("tls-cluster", YesNo, "no"),
    row("tls-dh-params-file", Text, ""),
    row("tls-key-file", Text, ""),
    row("tls-key-file-pass", Text, ""),
    row("tls-port", Integer(0, 0), "0"),
    row("tls-prefer-server-ciphers", YesNo, "no"),
    row("tls-protocols", Text, ""),
    row("tls-replication", YesNo, "no"),
    row("tls-session-cache-size", Integer(0, I32_MAX), "20480"),
    row("tls-session-cache-timeout", Integer(0, I32_MAX), "300"),
    row("tls-session-caching", YesNo, "yes"),
    row("tracking-table-max-keys", Integer(0, I64_MAX), "1000000").works(),
    row("unixsocket", Text, "").fixed(),
    row("unixsocketperm", Text, "0").fixed(),
    row("use-exit-on-panic", YesNo, "no").hidden(),
    row("zset-max-listpack-entries", Integer(0, I64_MAX), "128").also("zset-max-ziplist-entries"),
    row("zset-max-listpack-value", Memory(0, I64_MAX), "64").also("zset-max-ziplist-value"),
];
