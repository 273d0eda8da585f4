-- Rows of an audit log's entries. `entry` is the number of the entry in the log, `session` that of the entry that began
-- its session, times are ns since the Unix epoch, prices, quantities and money exact decimals as text.
-- A row belongs to the entry that it was made from: whoever doubts it looks there (`tidegate audit prove`).

CREATE TABLE sessions (
    entry BIGINT PRIMARY KEY,
    time_ns BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    version TEXT NOT NULL,
    models TEXT NOT NULL,
    host TEXT,
    pid BIGINT,
    sources BIGINT NOT NULL,
    configuration_sha256 TEXT,
    end_entry BIGINT,
    end_ns BIGINT,
    frames BIGINT,
    decisions BIGINT,
    features_digest TEXT,
    decisions_digest TEXT,
    stopped BOOLEAN
);

CREATE TABLE decisions (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    frame BIGINT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    rule TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    cause TEXT NOT NULL,
    quality TEXT,
    value DOUBLE PRECISION,
    threshold DOUBLE PRECISION,
    release_at DOUBLE PRECISION,
    thresholds_version BIGINT NOT NULL,
    features_digest TEXT,
    until_ns BIGINT,
    follows BIGINT
);
CREATE INDEX decisions_time ON decisions (time_ns);

CREATE TABLE breaker_events (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    event TEXT NOT NULL,
    scope TEXT,
    name TEXT,
    rule TEXT,
    cause TEXT,
    actor TEXT,
    detail TEXT
);
CREATE INDEX breaker_events_time ON breaker_events (time_ns);

CREATE TABLE thresholds (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    event BIGINT NOT NULL,
    instrument TEXT NOT NULL,
    origin TEXT NOT NULL,
    model TEXT,
    model_version BIGINT,
    model_hash TEXT,
    input_digest TEXT,
    volatility DOUBLE PRECISION,
    spread DOUBLE PRECISION,
    imbalance DOUBLE PRECISION,
    latency_us DOUBLE PRECISION,
    recovery DOUBLE PRECISION,
    levels_before TEXT NOT NULL,
    clamps TEXT NOT NULL,
    conditions TEXT NOT NULL,
    until_ns BIGINT
);
CREATE INDEX thresholds_time ON thresholds (time_ns);

CREATE TABLE model_history (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    event TEXT NOT NULL,
    name TEXT,
    version BIGINT,
    from_version BIGINT,
    to_version BIGINT,
    hash TEXT,
    reason TEXT
);

CREATE TABLE orders (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    strategy TEXT NOT NULL,
    instrument TEXT NOT NULL,
    side TEXT NOT NULL,
    order_type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    price TEXT NOT NULL,
    qty TEXT NOT NULL,
    self_trade TEXT NOT NULL,
    flags BIGINT NOT NULL,
    actor TEXT
);
CREATE INDEX orders_client ON orders (client_id);

CREATE TABLE verdicts (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    accepted BOOLEAN NOT NULL,
    rule TEXT,
    scope TEXT,
    measured BIGINT NOT NULL,
    limit_value BIGINT NOT NULL,
    value TEXT NOT NULL,
    reference TEXT NOT NULL,
    limits_digest TEXT NOT NULL
);
CREATE INDEX verdicts_client ON verdicts (client_id);

CREATE TABLE fills (
    entry BIGINT PRIMARY KEY,
    session BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    account TEXT NOT NULL,
    strategy TEXT NOT NULL,
    instrument TEXT NOT NULL,
    side TEXT NOT NULL,
    price TEXT NOT NULL,
    qty TEXT NOT NULL,
    fee TEXT NOT NULL,
    actor TEXT
);
CREATE INDEX fills_client ON fills (client_id);

CREATE TABLE incidents (
    session BIGINT NOT NULL,
    number BIGINT NOT NULL,
    start_ns BIGINT NOT NULL,
    last_trip_ns BIGINT NOT NULL,
    end_ns BIGINT,
    trips BIGINT NOT NULL,
    gravity TEXT NOT NULL,
    rules TEXT NOT NULL,
    first_entry BIGINT NOT NULL,
    last_entry BIGINT NOT NULL,
    PRIMARY KEY (session, number)
);

-- What no entry tells: measured a minute at a time. `session` is the number of the entry that began the run's session.
CREATE TABLE metrics_minute (
    session BIGINT NOT NULL,
    minute_ns BIGINT NOT NULL,
    name TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (session, minute_ns, name)
);

-- One row: which log this is, and how much of it is here. `root` is the log's root at `next_entry`.
CREATE TABLE position (
    id BIGINT PRIMARY KEY,
    origin TEXT NOT NULL,
    first_entry BIGINT NOT NULL,
    next_entry BIGINT NOT NULL,
    root TEXT NOT NULL,
    session BIGINT NOT NULL
);
