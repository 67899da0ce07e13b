/** Counters, gauges and histograms by name; the composition root gives them to prom-client. */
export type Labels = Readonly<Record<string, string>>;

export interface Metrics {
  /** Adds `by` (1) to a counter. */
  count(name: string, labels?: Labels, by?: number): void;
  /** Sets a gauge. */
  gauge(name: string, value: number, labels?: Labels): void;
  /** Records one observation of a histogram, in the unit that the name says. */
  observe(name: string, value: number, labels?: Labels): void;
}

export const noMetrics: Metrics = { count() {}, gauge() {}, observe() {} };
