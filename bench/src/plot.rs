//! Plots as SVG, written by hand: a few lines and a legend need no library.

use std::fmt::Write as _;

use crate::print::number;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top, bottom of the frame.
const FRAME: [f64; 4] = [70.0, 540.0, 40.0, 370.0];
/// Distinct in colour and, for whoever does not see colours, in brightness.
const COLOURS: [&str; 6] = ["#7f7f7f", "#e69f00", "#56b4e9", "#0072b2", "#cc79a7", "#d00000"];

/// A line with its name.
#[derive(Debug)]
pub struct Series {
    /// What it is called in the legend.
    pub name: String,
    /// Its place among the colours, the same in every plot.
    pub colour: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot, both axes logarithmic.
#[derive(Debug)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What is to the right.
    pub x: &'static str,
    /// What is up.
    pub y: &'static str,
    /// Its lines.
    pub series: Vec<Series>,
}

/// An axis: what it covers, and where that lies in the picture.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        let (low, high) = if low <= high { (low / 1.25, high * 1.25) } else { (1.0, 10.0) };
        Self { low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }

    /// Round numbers within: 1, 2 and 5 times the powers of ten.
    fn ticks(&self) -> Vec<f64> {
        (-3..9)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

impl Chart {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let [left, right, top, bottom] = FRAME;
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let x = Axis::over(points().map(|point| point.0), left, right);
        let y = Axis::over(points().map(|point| point.1), bottom, top);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            self.title
        );
        let mut text = |x: f64, y: f64, how: &str, what: &str| {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "<text x=\"{x:.0}\" y=\"{y:.0}\" {how}>{what}</text>");
        };
        let middle = f64::midpoint(left, right);
        text(middle, 22.0, "text-anchor=\"middle\" font-size=\"14\"", self.title);
        text(middle, HEIGHT - 10.0, "text-anchor=\"middle\"", self.x);
        let turned = format!(
            "text-anchor=\"middle\" transform=\"rotate(-90 16 {0:.0})\"",
            f64::midpoint(top, bottom)
        );
        text(16.0, f64::midpoint(top, bottom), &turned, self.y);
        for tick in x.ticks() {
            text(x.place(tick), bottom + 16.0, "text-anchor=\"middle\"", &tick_label(tick));
        }
        for tick in y.ticks() {
            text(left - 6.0, y.place(tick) + 4.0, "text-anchor=\"end\"", &tick_label(tick));
        }
        let mut path = |d: &str, colour: &str, width: f64| {
            let _ = writeln!(
                out,
                "<path d=\"{d}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
            );
        };
        for tick in x.ticks() {
            let at = x.place(tick);
            path(&format!("M{at:.1} {top}V{bottom}"), "#e0e0e0", 1.0);
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            path(&format!("M{left} {at:.1}H{right}"), "#e0e0e0", 1.0);
        }
        path(&format!("M{left} {top}V{bottom}H{right}"), "#000000", 1.0);
        for (row, series) in self.series.iter().enumerate() {
            let colour = COLOURS.get(series.colour % COLOURS.len()).copied().unwrap_or("#000000");
            let mut line = String::new();
            for (index, point) in series.points.iter().enumerate() {
                let to = if index == 0 { 'M' } else { 'L' };
                let (x, y) = (x.place(point.0), y.place(point.1));
                let _ = write!(line, "{to}{x:.1} {y:.1}");
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            let height = top + 10.0 + 20.0 * f64::from(u8::try_from(row).unwrap_or_default());
            let _ = writeln!(
                out,
                "<path d=\"{line}M{0:.0} {height:.0}h18\" fill=\"none\" stroke=\"{colour}\" \
                 stroke-width=\"2\"/>\n<text x=\"{1:.0}\" y=\"{2:.0}\">{3}</text>",
                right + 12.0,
                right + 36.0,
                height + 4.0,
                series.name
            );
        }
        out + "</svg>\n"
    }
}

/// A round number without the digits that only others need.
fn tick_label(tick: f64) -> String {
    if tick >= 1.0 { number(tick).trim_end_matches(".0").to_owned() } else { format!("{tick}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_for_each_and_its_points_in_the_frame() {
        let series = |name: &str, colour| Series {
            name: name.to_owned(),
            colour,
            points: vec![(1000.0, 0.5), (20_000.0, 70.0)],
        };
        let chart =
            Chart { title: "t", x: "x", y: "y", series: vec![series("one", 0), series("two", 5)] };
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains(">one</text>") && svg.contains(">two</text>"));
        assert!(svg.contains(">10,000</text>") && svg.contains(">50</text>"));
        for part in svg.split("cx=\"").skip(1) {
            let at: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((FRAME[0]..=FRAME[1]).contains(&at), "{at}");
        }
    }

    #[test]
    fn an_empty_plot_is_still_a_picture() {
        let chart = Chart { title: "t", x: "x", y: "y", series: Vec::new() };
        assert!(chart.svg().ends_with("</svg>\n"));
    }
}
