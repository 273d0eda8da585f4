//! `tidegate risk`: the risk desk of a running engine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_guard::risk::{Decimal, RestrictedFile};
use tidegate_runtime::control::Ask;
use tidegate_runtime::risk::ask::{Agreed, OrderAsk};
use tidegate_runtime::risk::{RiskAsk, limits_schema, protocols_schema};
use tidegate_wire::order::{OrderType, RequestKind, SelfTradeMode, Side, TimeInForce};

use crate::commands::running::{Running, text};
use crate::exit::{Exit, failed};
use crate::output::{Format, number_table, print_json};

/// Asks the risk desk of a running engine, stops the trading through it and lets it go on.
///
/// A kill is acknowledged when it is in force and saved; it holds until a designated person resets it, through
/// restarts. `kill -USR1 PID` (the pid is in DIR/engine.json) throws the engine's switch too. Alerts are lines of
/// DIR/alerts.jsonl, orders that the desk wants sent (cancels, reductions) lines of DIR/orders.jsonl.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate risk status --engine run
  tidegate risk kill engine --person ada
  tidegate risk kill strategy:carry
  tidegate risk reset engine --designated cyd --reason 'feed is back, books checked'
  tidegate risk heartbeat --person ada --every 2s
  tidegate risk check --try --account main --strategy carry --instrument BTCUSDT.binance-usdm \\
      --side buy --price 42000 --qty 0.1 --client-id 1
  tidegate risk rehearse drawdown 2
  tidegate risk schema > risk.schema.json")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    running: Running,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Thrown switches, protocols, exposure, counters, how late alerts were
    Status,
    /// Stop a scope: engine, venue:NAME, strategy:NAME or account:NAME
    Kill {
        /// Scope
        scope: String,
        /// Who says so; no role is needed
        #[arg(long)]
        person: Option<String>,
    },
    /// Let a scope go on
    Reset {
        /// Scope
        scope: String,
        #[command(flatten)]
        agreed: AgreedArgs,
    },
    /// Say that the operator is there (limits' switches.dead_man_ms)
    Heartbeat {
        /// Who
        #[arg(long)]
        person: String,
        /// Again and again, this far apart, until interrupted or the engine has ended
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        every: Option<Duration>,
    },
    /// Ask whether an order may be sent
    Check(Box<CheckArgs>),
    /// Excuse one order from one rule, once
    Override {
        /// Account of the order
        #[arg(long)]
        account: String,
        /// Its client order id
        #[arg(long)]
        client_id: u64,
        /// Name of the rule
        #[arg(long)]
        rule: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
        lasts: Duration,
        #[command(flatten)]
        agreed: AgreedArgs,
    },
    /// Put a newer restricted list (TOML: version, entries) in force
    Restrict {
        /// The list
        file: PathBuf,
        /// Who of the risk function
        #[arg(long)]
        person: String,
    },
    /// What an emergency protocol would do on a level, from 1; changes nothing
    Rehearse {
        /// Name of the protocol
        protocol: String,
        /// Level
        level: usize,
    },
    /// End the level that an emergency protocol stands on
    Calm {
        /// Name of the protocol
        protocol: String,
        #[command(flatten)]
        agreed: AgreedArgs,
    },
    /// What a run before held and nobody in this one owns has been dealt with
    Disown {
        #[command(flatten)]
        agreed: AgreedArgs,
    },
    /// The rules: what each refuses, its unit, the requirement behind it
    Rules,
    /// JSON schema of the file of limits
    Schema {
        /// Of the file of emergency protocols instead
        #[arg(long)]
        emergency: bool,
    },
}

#[derive(clap::Args, Debug)]
struct AgreedArgs {
    /// The designated person
    #[arg(long)]
    designated: String,
    /// The risk function's person, where two are needed
    #[arg(long)]
    risk: Option<String>,
    /// Why
    #[arg(long)]
    reason: String,
}

#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// Judge only: nothing counts
    #[arg(long = "try")]
    only_try: bool,
    /// Client order id
    #[arg(long)]
    client_id: u64,
    /// Account
    #[arg(long)]
    account: String,
    /// Strategy
    #[arg(long)]
    strategy: String,
    /// Instrument, such as BTCUSDT.binance-usdm
    #[arg(long)]
    instrument: String,
    /// new, replace or cancel
    #[arg(long, default_value = "new", value_parser = named::<RequestKind>)]
    kind: RequestKind,
    /// buy or sell
    #[arg(long, value_parser = named::<Side>)]
    side: Side,
    /// limit, market or post-only
    #[arg(long, default_value = "limit", value_parser = named::<OrderType>)]
    order_type: OrderType,
    /// good-till-cancel, immediate-or-cancel or fill-or-kill
    #[arg(long, default_value = "good-till-cancel", value_parser = named::<TimeInForce>)]
    time_in_force: TimeInForce,
    /// Price
    #[arg(long, value_parser = Decimal::parse)]
    price: Option<Decimal>,
    /// Quantity
    #[arg(long, value_parser = Decimal::parse)]
    qty: Option<Decimal>,
    /// May only make a position smaller
    #[arg(long)]
    reduce_only: bool,
    /// NONE, EXPIRE_TAKER, EXPIRE_MAKER or EXPIRE_BOTH
    #[arg(long, default_value = "EXPIRE_TAKER", value_parser = named::<SelfTradeMode>)]
    self_trade: SelfTradeMode,
}

fn named<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is none of them"))
}

impl From<&AgreedArgs> for Agreed {
    fn from(args: &AgreedArgs) -> Self {
        Self { designated: args.designated.clone(), risk: args.risk.clone(), reason: args.reason.clone() }
    }
}

impl CheckArgs {
    fn order(&self) -> OrderAsk {
        OrderAsk {
            client_id: self.client_id,
            account: self.account.clone(),
            strategy: self.strategy.clone(),
            instrument: self.instrument.clone(),
            kind: self.kind,
            side: self.side,
            order_type: self.order_type,
            time_in_force: self.time_in_force,
            price: self.price,
            qty: self.qty,
            reduce_only: self.reduce_only,
            self_trade: self.self_trade,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let ask = match &args.action {
        Action::Schema { emergency: true } => return print_json(&protocols_schema()).map(|()| Exit::Ok),
        Action::Schema { emergency: false } => return print_json(&limits_schema()).map(|()| Exit::Ok),
        Action::Rules => return print_rules(args.running.format),
        Action::Status => RiskAsk::Status,
        Action::Kill { scope, person } => RiskAsk::Kill { scope: scope.clone(), person: person.clone() },
        Action::Reset { scope, agreed } => RiskAsk::Reset { scope: scope.clone(), agreed: agreed.into() },
        Action::Heartbeat { person, every } => return heartbeat(args, person, *every),
        Action::Check(check) if check.only_try => RiskAsk::Try { order: check.order() },
        Action::Check(check) => RiskAsk::Check { order: check.order() },
        Action::Override { account, client_id, rule, lasts, agreed } => RiskAsk::Override {
            account: account.clone(),
            client_id: *client_id,
            rule: rule.clone(),
            for_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            agreed: agreed.into(),
        },
        Action::Restrict { file, person } => RiskAsk::Restrict { list: list(file)?, person: person.clone() },
        Action::Rehearse { protocol, level } => RiskAsk::Rehearse { protocol: protocol.clone(), level: *level },
        Action::Disown { agreed } => RiskAsk::Disown { agreed: agreed.into() },
        Action::Calm { protocol, agreed } => RiskAsk::Calm { protocol: protocol.clone(), agreed: agreed.into() },
    };
    let answer = asked(args, &ask)?;
    let refused = answer["accepted"] == false;
    match args.running.format {
        Format::Json => print_json(&json!({ "schema": "tidegate.risk.v1", "answer": answer }))?,
        Format::Table => print_answer(&ask, &answer),
    }
    Ok(if refused { Exit::Failure } else { Exit::Ok })
}

fn list(file: &std::path::Path) -> Result<RestrictedFile> {
    let wrong = |error: String| failed(Exit::Config, format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn asked(args: &Args, ask: &RiskAsk) -> Result<Value> {
    let reply = args.running.ask(&Ask::Risk { ask: ask.clone() })?;
    Ok(reply.risk.unwrap_or_default())
}

fn heartbeat(args: &Args, person: &str, every: Option<Duration>) -> Result<Exit> {
    let ask = RiskAsk::Heartbeat { person: person.to_owned() };
    asked(args, &ask)?;
    while let Some(every) = every {
        std::thread::sleep(every);
        asked(args, &ask)?;
    }
    Ok(Exit::Ok)
}

fn print_rules(format: Format) -> Result<Exit> {
    let rules = tidegate_guard::risk::rules::RULES;
    match format {
        Format::Json => {
            let rules = rules.iter().map(|rule| {
                json!({
                    "name": rule.name,
                    "unit": rule.unit,
                    "about": rule.about,
                    "source": rule.source,
                    "overridable": rule.overridable,
                })
            });
            print_json(&json!({ "schema": "tidegate.risk.v1", "rules": rules.collect::<Vec<_>>() }))?;
        }
        Format::Table => {
            for rule in rules {
                anstream::println!("{} ({})\n    {}\n    {}", rule.name, rule.unit, rule.about, rule.source);
            }
        }
    }
    Ok(Exit::Ok)
}

fn print_answer(ask: &RiskAsk, answer: &Value) {
    match ask {
        RiskAsk::Status => print_status(answer),
        RiskAsk::Check { .. } | RiskAsk::Try { .. } => print_verdict(answer),
        RiskAsk::Rehearse { .. } => {
            let stops = if answer["stops_quoting"] == true { "stops quoting" } else { "quoting goes on" };
            anstream::println!("{stops}; requests in the order of sending:");
            for planned in answer["requests"].as_array().into_iter().flatten() {
                anstream::println!("  {}", planned["request"]);
                print_verdict(&planned["verdict"]);
            }
        }
        RiskAsk::Kill { scope, .. } => {
            let already = if answer["was_thrown"] == true { " already" } else { "" };
            anstream::println!("STOPPED{already}: {scope}");
            if let Some(unknown) = answer["unknown_person"].as_str() {
                anstream::println!("{unknown:?} is none of the limits' people: the kill is on record without a person");
            }
        }
        RiskAsk::Reset { scope, .. } => {
            let what = if answer["was_thrown"] == true { "released" } else { "was not stopped; losses are forgiven" };
            anstream::println!("{scope}: {what}");
        }
        _ => anstream::println!("done"),
    }
}

fn print_verdict(verdict: &Value) {
    if verdict["accepted"] == true {
        anstream::println!("accepted; worst-case value {} millionths", verdict["value_millionths"]);
    } else {
        let [rule, about, scope, unit] = ["rule", "about", "scope", "unit"].map(|key| text(&verdict[key]));
        let (measured, limit) = (&verdict["measured"], &verdict["limit"]);
        anstream::println!("refused by {rule} of {scope}: {measured} against {limit} ({unit}). {about}");
    }
}

fn print_status(status: &Value) {
    let rows = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    if rows("thrown").is_empty() {
        anstream::println!("no switch is thrown");
    }
    for latch in rows("thrown") {
        let [scope, cause, rule, person] = ["scope", "cause", "rule", "person"].map(|key| text(&latch[key]));
        anstream::println!("STOPPED {scope}: {cause} (rule {rule}, person {person}, at {} ns)", latch["event_ns"]);
    }
    for open in rows("breakers") {
        let [scope, why] = ["scope", "why"].map(|key| text(&open[key]));
        anstream::println!("breaker open: {scope} ({why})");
    }
    for protocol in rows("protocols") {
        anstream::println!("protocol {}: level {}", text(&protocol["name"]), protocol["level"]);
    }
    for band in rows("luld") {
        let [name, phase, reference] = ["instrument", "phase", "reference"].map(|key| text(&band[key]));
        anstream::println!("bands of {name}: {phase}, reference {reference}, {}", band["bands"]);
    }
    let keys = ["scope", "exposure_millionths", "profit_millionths", "daily_loss_millionths", "drawdown_millionths"];
    let head = ["scope", "exposure", "profit", "daily loss", "drawdown"];
    let standing = rows("standing");
    let standing = standing.iter().map(|row| {
        let millionths =
            |key: &&str| row[*key].as_i64().map_or_else(|| text(&row[*key]), |m| format!("{:.2}", m as f64 / 1e6));
        keys.iter().map(millionths).collect()
    });
    anstream::println!("{}", number_table(&head, standing));
    for held in rows("held_by_nobody") {
        anstream::println!("HELD BY NOBODY: {held}");
    }
    for held in rows("positions") {
        let [account, strategy, name, qty] = ["account", "strategy", "instrument", "qty"].map(|key| text(&held[key]));
        anstream::println!("{account} {strategy} holds {qty} of {name}");
    }
    let (counters, alerts) = (&status["counters"], &status["alerts"]);
    let [requests, accepted, refused] = ["requests", "accepted", "refused"].map(|key| text(&counters[key]));
    anstream::println!("{requests} requests, {accepted} accepted, {refused} refused; {} open", status["open_orders"]);
    let late = &alerts["later_than_5_s"];
    anstream::println!("{} alerts, latest after {} us, {late} later than 5 s", alerts["count"], alerts["max_us"]);
}
