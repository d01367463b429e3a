//! The runs as a picture, in SVG: I/Os per second over the depth, a panel for each kind and size of I/O.

use std::collections::BTreeMap;
use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::runs::{Run, Runs, median};
use crate::table::size;

const PANEL: (u32, u32) = (520, 360);
const COLUMNS: usize = 2;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x4e, 0x79),
    RGBColor(0xc0, 0x50, 0x1f),
    RGBColor(0x3a, 0x7d, 0x44),
    RGBColor(0x7b, 0x4f, 0x9e),
    RGBColor(0x8c, 0x6d, 0x1f),
    RGBColor(0x55, 0x55, 0x55),
];

/// A depth, and the runs of each engine at it.
type Column<'a> = (u32, &'a BTreeMap<String, Vec<Run>>);

/// The picture. A line joins the medians; a stroke goes from the least to the most.
pub(crate) fn plot(runs: &Runs) -> Result<String, Box<dyn Error>> {
    let mut panels: BTreeMap<(&str, u64), Vec<Column<'_>>> = BTreeMap::new();
    for (load, engines) in runs.loads() {
        panels.entry((&load.rw, load.bs)).or_default().push((load.depth, engines));
    }
    let rows = panels.len().div_ceil(COLUMNS);
    let columns = panels.len().min(COLUMNS);
    let picture = (PANEL.0 * u32::try_from(columns)?, PANEL.1 * u32::try_from(rows)?);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, picture).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        for (area, ((rw, bs), columns)) in root.split_evenly((rows, columns)).iter().zip(&panels) {
            panel(area, &format!("{rw}, {}", size(*bs)), columns, &runs.engines())?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    columns: &[Column<'_>],
    engines: &[&str],
) -> Result<(), Box<dyn Error>> {
    let thousand = |run: &Run| run.iops / 1e3;
    let all = columns.iter().flat_map(|(_, engines)| engines.values().flatten());
    let top = all.map(thousand).fold(0.0, f64::max);
    let depths = columns.iter().map(|(depth, _)| f64::from(*depth));
    let (first, last) =
        depths.fold((f64::MAX, 1.0), |(least, most), depth| (depth.min(least), depth.max(most)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((first * 0.8..last * 1.25).log_scale(), 0.0..top * 1.1)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .x_desc("iodepth")
        .y_desc("thousand I/Os per second")
        .x_label_formatter(&|depth| format!("{depth:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()
        .map_err(|error| error.to_string())?;
    for (engine, colour) in engines.iter().zip(COLOURS.iter().cycle().copied()) {
        let runs =
            columns.iter().filter_map(|(depth, engines)| Some((f64::from(*depth), engines.get(*engine)?)));
        let points: Vec<_> = runs.map(|(depth, runs)| (depth, median(runs, thousand))).collect();
        let medians = points.iter().map(|&(depth, (middle, ..))| (depth, middle));
        chart
            .draw_series(LineSeries::new(medians, colour.stroke_width(2)).point_size(3))
            .map_err(|error| error.to_string())?
            .label(*engine)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        let strokes = points.iter().map(|&(depth, (_, least, most))| {
            PathElement::new([(depth, least), (depth, most)], colour.stroke_width(1))
        });
        chart.draw_series(strokes).map_err(|error| error.to_string())?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(())
}
