//! Bars, a group for each policy and one in it for each engine, with a line from least to most.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::Spread;

const SIZE: (u32, u32) = (720, 400);
const COLOURS: [RGBColor; 2] = [RGBColor(0x1f, 0x4e, 0x79), RGBColor(0xc0, 0x50, 0x1f)];
/// Share of a group's width that its bars take.
const FILLED: f64 = 0.7;
/// Of the axis, above the highest bar: there stand its number and the names of the engines.
const HEADROOM: f64 = 0.4;

/// What is drawn.
pub(crate) struct Bars<'a, const P: usize, const E: usize> {
    /// Names of the groups.
    pub(crate) policies: [&'a str; P],
    /// Names of the bars of each group.
    pub(crate) engines: [&'a str; E],
    /// By policy and engine.
    pub(crate) values: &'a [Vec<Spread>],
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl<const P: usize, const E: usize> Bars<'_, P, E> {
    /// With an axis from zero.
    pub(crate) fn linear(&self, title: &str, unit: &str) -> Result<String, Box<dyn Error>> {
        self.draw(|root| self.paint(root, title, unit, 0.0, 0.0..self.most() * (1.0 + HEADROOM)))
    }

    /// With an axis of powers of ten.
    pub(crate) fn logarithmic(&self, title: &str, unit: &str) -> Result<String, Box<dyn Error>> {
        let least = self.values.iter().flatten().map(|spread| spread[1]).fold(f64::INFINITY, f64::min);
        let bottom = 10_f64.powf(least.max(1e-3).log10().floor());
        let top = self.most() * (self.most() / bottom).powf(HEADROOM);
        let axis = (bottom..top).log_scale();
        self.draw(|root| self.paint(root, title, unit, bottom, axis))
    }

    fn most(&self) -> f64 {
        self.values.iter().flatten().map(|spread| spread[2]).fold(0.0, f64::max)
    }

    fn draw(
        &self,
        paint: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn Error>>,
    ) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            root.fill(&WHITE).map_err(|error| error.to_string())?;
            paint(&root)?;
            root.present().map_err(|error| error.to_string())?;
        }
        Ok(text)
    }

    fn paint<Y>(
        &self,
        root: &Area<'_>,
        title: &str,
        unit: &str,
        bottom: f64,
        axis: Y,
    ) -> Result<(), Box<dyn Error>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let failed = |error: &dyn Error| error.to_string();
        let mut chart = ChartBuilder::on(root)
            .caption(title, ("sans-serif", 18))
            .margin(16)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..P as f64, axis)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_desc(unit)
            .y_label_formatter(&|value| format!("{value}"))
            .draw()
            .map_err(|error| failed(&error))?;
        let width = FILLED / E as f64;
        for (engine, name) in self.engines.iter().enumerate() {
            let colour = COLOURS[engine % COLOURS.len()];
            let left = |group: usize| group as f64 + (1.0 - FILLED) / 2.0 + engine as f64 * width;
            let bars = self.values.iter().enumerate().map(|(group, row)| {
                let corners = [(left(group), bottom), (left(group) + width * 0.94, row[engine][0])];
                Rectangle::new(corners, colour.filled())
            });
            chart
                .draw_series(bars)
                .map_err(|error| failed(&error))?
                .label(*name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
            let spreads = self.values.iter().enumerate().map(|(group, row)| {
                let ([_, least, most], x) = (row[engine], left(group) + width * 0.47);
                PathElement::new([(x, least.max(bottom)), (x, most)], BLACK.stroke_width(1))
            });
            chart.draw_series(spreads).map_err(|error| failed(&error))?;
            let numbers = self.values.iter().enumerate().map(|(group, row)| {
                let [median, _, most] = row[engine];
                let text = if median >= 10.0 { format!("{median:.0}") } else { format!("{median:.2}") };
                // Above the line, in steps of the axis.
                EmptyElement::at((left(group) + width * 0.2, most))
                    + Text::new(text, (0, -14), ("sans-serif", 12))
            });
            chart.draw_series(numbers).map_err(|error| failed(&error))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()
            .map_err(|error| failed(&error))?;
        self.name_groups(root)
    }

    /// Writes the policies below their groups.
    fn name_groups(&self, root: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let (left, right) = (16 + 64, i32::try_from(SIZE.0)? - 16);
        let bottom = i32::try_from(SIZE.1)? - 16 - 26;
        let groups = i32::try_from(P)?;
        for (place, policy) in (0..).zip(self.policies) {
            let middle = left + (right - left) * (2 * place + 1) / (2 * groups);
            let style = ("sans-serif", 14).into_text_style(root).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Top,
            ));
            root.draw_text(policy, &style, (middle, bottom)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
