//! The simulated exchange: a seeded order-flow market that speaks Binance frames.
