"""The breaker tuner: quantiles of what the breaker rules will measure, from the market graph."""
