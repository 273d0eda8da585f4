//! Figures from plain series of numbers. Empty or constant input gives `None`, never NaN.

/// Quantile by rank, `part` in [0, 1].
pub(super) fn quantile(values: &mut [f64], part: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let rank = ((values.len() as f64 * part) as usize).min(values.len() - 1);
    let (_, value, _) = values.select_nth_unstable_by(rank, f64::total_cmp);
    Some(*value)
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

pub(super) fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    Some(values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / values.len() as f64)
}

/// Fourth standardised moment minus 3.
pub(super) fn excess_kurtosis(values: &[f64]) -> Option<f64> {
    let (mean, variance) = (mean(values)?, variance(values)?);
    let fourth = values.iter().map(|value| libm::pow(value - mean, 4.0)).sum::<f64>() / values.len() as f64;
    (variance > 0.0).then(|| fourth / (variance * variance) - 3.0)
}

pub(super) fn autocorrelation(values: &[f64], lag: usize) -> Option<f64> {
    let (mean, variance) = (mean(values)?, variance(values)?);
    if values.len() <= 2 * lag || variance <= 0.0 {
        return None;
    }
    let pairs = values.iter().zip(&values[lag..]);
    let covariance = pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / values.len() as f64;
    Some(covariance / variance)
}

/// Counts in windows of 1 s of sorted times in ms, from the first window to the last.
pub(super) fn counts_per_second(times_ms: &[i64]) -> Vec<f64> {
    let (Some(first), Some(last)) = (times_ms.iter().min(), times_ms.iter().max()) else { return Vec::new() };
    let first = first.div_euclid(1_000);
    let mut counts = vec![0.0; (last.div_euclid(1_000) - first + 1) as usize];
    for time in times_ms {
        counts[(time.div_euclid(1_000) - first) as usize] += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.5), Some(3.0));
        assert_eq!(mean(&values), Some(2.5));
        assert_eq!(variance(&values), Some(1.25));
        assert_eq!(autocorrelation(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 1), Some(-5.0 / 6.0));
        assert_eq!(excess_kurtosis(&[1.0, -1.0]), Some(-2.0));
        assert_eq!(excess_kurtosis(&[1.0, 1.0]), None);
        assert_eq!(counts_per_second(&[1_999, 2_000, 2_001, 4_000]), [1.0, 2.0, 0.0, 1.0]);
    }
}
