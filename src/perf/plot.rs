//! Reports as pictures, in SVG. Does no I/O: what comes back is the text of a file.

use corelane_reactors::stats::Distribution;
use plotters::prelude::*;

use crate::perf::Report;

const SIZE: (u32, u32) = (960, 600);
/// Percentiles are drawn up to so many nines.
const NINES_MAX: u32 = 5;
/// Points of the curve for each nine.
const POINTS_PER_NINE: u32 = 24;
const LINE: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const SECOND_LINE: RGBColor = RGBColor(0xc0, 0x50, 0x1f);

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the plot: {0}")]
pub struct PlotError(String);

/// The latency that a share of all commands does not exceed, over that share: its axis has a step for each nine.
///
/// # Errors
/// [`PlotError`], also where no command succeeded.
pub fn latencies(report: &Report) -> Result<String, PlotError> {
    let points = curve(&report.latency);
    let top = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let bottom = points.first().map_or(0.0, |point| point.1);
    if points.is_empty() || top <= 0.0 {
        return Err(PlotError("no command succeeded".to_owned()));
    }
    let title = format!("Latency distribution: {}", caption(report));
    draw(|root| {
        let y = (bottom * 0.8..top * 1.25).log_scale();
        let mut chart = frame(root, &title).build_cartesian_2d(0.0..f64::from(NINES_MAX), y)?;
        chart
            .configure_mesh()
            .x_desc("share of commands")
            .y_desc("latency (us)")
            .x_labels(NINES_MAX as usize + 1)
            .x_label_formatter(&|nines| share(*nines))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), LINE.stroke_width(2)))?;
        Ok(())
    })
}

/// Latencies over load, a point for each report: median and 99th percentile.
///
/// # Errors
/// [`PlotError`], also where there is no report in which a command succeeded.
pub fn load(reports: &[Report]) -> Result<String, PlotError> {
    let at = |report: &Report, quantile| Some((report.iops / 1e3, us(report.latency.quantile(quantile)?)));
    let curves = [("p50", 0.5, LINE), ("p99", 0.99, SECOND_LINE)].map(|(name, quantile, colour)| {
        (name, colour, reports.iter().filter_map(|report| at(report, quantile)).collect::<Vec<_>>())
    });
    let all = || curves.iter().flat_map(|(.., points)| points);
    let (right, top) = all().fold((0.0, 0.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
    let bottom = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let Some(first) = reports.first().filter(|_| right > 0.0 && top > 0.0) else {
        return Err(PlotError("no command succeeded".to_owned()));
    };
    let title = format!("Latency over load: {}", caption(first));
    draw(|root| {
        let y = (bottom * 0.8..top * 1.25).log_scale();
        let mut chart = frame(root, &title).build_cartesian_2d(0.0..right * 1.05, y)?;
        chart
            .configure_mesh()
            .x_desc("load (thousand commands per second)")
            .y_desc("latency (us)")
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for (name, colour, points) in &curves {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        for (report, point) in reports.iter().filter(|report| report.iops > 0.0).zip(&curves[0].2) {
            let text = format!("{}", u32::from(report.plan.depth) * u32::from(report.plan.connections));
            chart.draw_series([Text::new(text, *point, ("sans-serif", 12))])?;
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    paint: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String, PlotError> {
    let mut text = String::new();
    let failed = |error: Box<dyn std::error::Error>| PlotError(error.to_string());
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| PlotError(error.to_string()))?;
        paint(&root).map_err(failed)?;
        root.present().map_err(|error| PlotError(error.to_string()))?;
    }
    Ok(text)
}

fn frame<'a, 'b>(root: &'a Area<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(root);
    builder.caption(title, ("sans-serif", 18)).margin(16).x_label_area_size(44).y_label_area_size(64);
    builder
}

/// Points of the distribution: nines of the share, and microseconds.
fn curve(latency: &Distribution) -> Vec<(f64, f64)> {
    let count = latency.count() as f64;
    let step = |index: u32| f64::from(index) / f64::from(POINTS_PER_NINE);
    (0..=NINES_MAX * POINTS_PER_NINE)
        .map(step)
        // Where less than one command is left, there is nothing to be told.
        .take_while(|&nines| count * 10_f64.powf(-nines) >= 1.0)
        .filter_map(|nines| Some((nines, us(latency.quantile(1.0 - 10_f64.powf(-nines))?))))
        .collect()
}

fn caption(report: &Report) -> String {
    let plan = &report.plan;
    format!(
        "{} bytes, {} % reads, {} connections of depth {}",
        plan.block_bytes, plan.reads_percent, plan.connections, plan.depth
    )
}

fn share(nines: f64) -> String {
    // As many digits as it has nines, without the zeros behind them.
    let text = format!("{:.4}", 100.0 - 100.0 * 10_f64.powf(-nines));
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn us(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}
