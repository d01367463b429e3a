//! What was measured as a picture, in SVG. Does no I/O: what comes back is the text of a file.

use plotters::prelude::*;

use super::{Candidate, Run, Summary};

const WIDTH: u32 = 960;
/// Height of the frame, and of what each candidate adds.
const HEIGHT: u32 = 130;
const ROW: u32 = 26;
/// Room for the names on the left, in pixels.
const NAMES: u32 = 300;
const BAR: RGBColor = RGBColor(0x9d, 0xb8, 0xd2);
const BEST: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const SPREAD: RGBColor = RGBColor(0xc0, 0x50, 0x1f);

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the plot: {0}")]
pub struct PlotError(String);

/// Commands in a second of each candidate: a bar up to the median, and a line from the least to the greatest. The one of
/// index `best` is darker.
///
/// # Errors
/// [`PlotError`], also where nothing was measured.
pub fn candidates(
    tried: &[(Candidate, Vec<Run>)],
    best: Option<usize>,
    caption: &str,
) -> Result<String, PlotError> {
    let rows: Vec<(String, Option<Summary>)> = tried
        .iter()
        .map(|(candidate, runs)| {
            let name = match Summary::of(runs.iter().map(|run| run.p50_us)) {
                Some(latency) => format!("{candidate} ({:.0} us)", latency.median),
                None => candidate.to_string(),
            };
            (name, Summary::of(runs.iter().map(|run| run.iops / 1e3)))
        })
        .collect();
    let top = rows.iter().filter_map(|(_, iops)| iops.map(|iops| iops.max)).fold(0.0, f64::max);
    if top <= 0.0 {
        return Err(PlotError("nothing was measured".to_owned()));
    }
    let mut text = String::new();
    draw(&mut text, &rows, best, caption, top).map_err(|error| PlotError(error.to_string()))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    rows: &[(String, Option<Summary>)],
    best: Option<usize>,
    caption: &str,
    top: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let count = u32::try_from(rows.len())?;
    let root = SVGBackend::with_string(text, (WIDTH, HEIGHT + ROW * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 16))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..top * 1.05, f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("thousand commands per second (in brackets: median latency of a lone command)")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for ((index, (name, iops)), y) in rows.iter().enumerate().zip((0..count).map(f64::from)) {
        let (x, line) = chart.backend_coord(&(0.0, y + 0.5));
        let style = ("sans-serif", 12).into_font().into_text_style(&root);
        root.draw(&Text::new(name.clone(), (x - i32::try_from(NAMES)? + 8, line - 6), style))?;
        let Some(Summary { median, min, max }) = *iops else { continue };
        let colour = if best == Some(index) { BEST } else { BAR };
        chart.draw_series([Rectangle::new([(0.0, y + 0.2), (median, y + 0.8)], colour.filled())])?;
        let spread = [(min, y + 0.5), (max, y + 0.5)];
        chart.draw_series([PathElement::new(spread, SPREAD.stroke_width(2))])?;
    }
    root.present()?;
    Ok(())
}
