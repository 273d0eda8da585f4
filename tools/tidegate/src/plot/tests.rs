//! What the picture contains; how it looks is for eyes.

use super::*;

fn histogram(count: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
    (0..count).for_each(|k| histogram.record(500 + k * 3).unwrap());
    histogram
}

fn series<'a>(label: &str, tag: usize, histogram: &'a Histogram<u64>) -> Series<'a> {
    Series { label: label.to_owned(), tag, file: 0, files: 1, histogram }
}

#[test]
fn a_curve_ends_with_its_samples_and_is_pale_without_ten_above() {
    let histogram = histogram(1_000);
    let (sound, pale) = series("a", 0, &histogram).curve();
    assert!(sound.iter().all(|&(one_in, _)| one_in <= 100.0));
    assert_eq!(pale.first(), sound.last());
    let (one_in, ns) = *pale.last().unwrap();
    assert_eq!(one_in, 1_000.0);
    assert!(histogram.equivalent(ns as u64, histogram.max()));
}

#[test]
fn marks_stop_where_ten_samples_above_end() {
    let histogram = histogram(1_000);
    let ones: Vec<f64> = series("a", 0, &histogram).marks().iter().map(|&(one_in, _)| one_in).collect();
    assert_eq!(ones, [2.0, 10.0, 100.0, 1_000.0]);
}

#[test]
fn labels_are_escaped_and_described() {
    let histogram = histogram(100);
    let picture = svg(&[series("a<b>&\"c\"\u{7}", 0, &histogram)]);
    assert!(picture.contains("a&lt;b&gt;&amp;&quot;c&quot; "));
    assert!(!picture.contains("a<b>"));
    assert!(picture.contains("role=\"img\"") && picture.contains("<desc id=\"tg-desc\">"));
    assert!(picture.contains("100 samples, median"));
}

#[test]
fn nothing_empty_or_tiny_breaks_it() {
    let (none, one) = (histogram(0), histogram(1));
    for list in [vec![], vec![series("none", 0, &none)], vec![series("none", 0, &none), series("one", 1, &one)]] {
        let page = html(&list);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}

#[test]
fn the_page_loads_nothing() {
    let histogram = histogram(50);
    let page = html(&[series("a", 0, &histogram)]);
    for word in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("scope=\"row\""));
}

#[test]
fn series_of_one_tag_in_two_files_differ_in_dashes() {
    let histogram = histogram(500);
    let of = |file| Series { label: format!("a{file}"), tag: 0, file, files: 2, histogram: &histogram };
    let picture = svg(&[of(0), of(1)]);
    assert!(picture.contains("stroke-dasharray=\"none\"") && picture.contains("stroke-dasharray=\"8 4\""));
}
