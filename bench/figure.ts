/** A number that stands for itself: there is nothing beside it in the same run, so its goal is absolute. */

/** A share is from 0 to 1. */
export type Unit = "ms" | "us" | "bytes" | "rate" | "count" | "share";

export interface Figure {
  readonly label: string;
  readonly unit: Unit;
  /** What was measured, each time it was; the table shows the median and the range. */
  readonly values: readonly number[];
  readonly goal?: { readonly atMost: number } | { readonly atLeast: number };
  /** What it was measured on, or what it means. */
  readonly note: string;
}

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const KIB = 1024;
const FEW = 10;
const US_PER_MS = 1_000;
const PERCENT = 100;

export function formatFigure(value: number, unit: Unit): string {
  switch (unit) {
    case "us":
      if (value >= US_PER_MS * FEW) return formatFigure(value / US_PER_MS, "ms");
      return `${value < FEW ? value.toFixed(2) : value.toFixed(0)} us`;
    case "ms":
      return `${value < FEW ? value.toFixed(2) : value.toFixed(1)} ${unit}`;
    case "bytes":
      return formatBytes(value);
    case "rate":
      return `${Math.round(value).toLocaleString("en-US")}/s`;
    case "share":
      return `${(value * PERCENT).toFixed(1)} %`;
    case "count":
      return Number.isInteger(value) ? value.toLocaleString("en-US") : value.toFixed(2);
  }
}

function formatBytes(value: number): string {
  const size = Math.abs(value);
  if (size >= GIB) return `${(value / GIB).toFixed(2)} GiB`;
  if (size >= MIB) return `${(value / MIB).toFixed(1)} MiB`;
  return size >= KIB ? `${(value / KIB).toFixed(1)} KiB` : `${value.toFixed(0)} B`;
}
