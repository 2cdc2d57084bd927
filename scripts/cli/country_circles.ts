/**
 * Countries as circles on the earth: somebody of whom only the country is known is somewhere within. Borders are those
 * of country-coder, drawn a little outside the land; parts with a country code of their own, as French Guiana, are not
 * in the circle of the country that they belong to.
 */
import { borders } from "@rapideditor/country-coder";

/** Degrees, and kilometres. */
export type Circle = { country: string; latitude: number; longitude: number; radius: number };

/** What is used here of country-coder's features, of which it has no types. */
type Feature = {
  properties: { id: string; iso1A2?: string; isoStatus?: string; groups?: string[] };
  geometry: { coordinates: [number, number][][][] } | null;
};
type Vector = [number, number, number];

/** Clipperton, where nobody lives, and Britain's bases on Cyprus: with them France and Britain were half of the world. */
const LEFT_OUT = ["CP", "Q9143535", "Q9206745"];
const EARTH_KM = 6371;
/** Borders between two of their points are straight in degrees, the circle is not. */
const MARGIN_KM = 50;

/** One for each country code (ISO 3166-1 alpha-2, and XK). */
export function countryCircles(): Circle[] {
  const features = borders.features as Feature[];
  const codes = new Set(
    features.map(({ properties }) => properties)
      .filter(({ iso1A2, isoStatus }) => iso1A2 && (isoStatus === "official" || isoStatus === "usrAssn"))
      .map(({ iso1A2 }) => iso1A2!),
  );
  const points = new Map<string, Vector[]>();
  for (const { geometry, properties: { id, iso1A2, groups = [] } } of features) {
    if (!geometry || LEFT_OUT.includes(id)) continue;
    // Groups go from the smallest to the world.
    const country = [iso1A2, ...groups].find((code) => code && codes.has(code));
    if (!country) continue;
    const held = points.get(country) ?? [];
    held.push(...geometry.coordinates.flat(2).map(([longitude, latitude]) => vectorOf(longitude, latitude)));
    points.set(country, held);
  }
  return [...points].map(([country, of]) => ({ country, ...circleAround(of) }));
}

/**
 * A circle around points that is hardly larger than the smallest: from the mean, step by step towards the point that is
 * farthest, each step shorter (Bădoiu and Clarkson, Smaller core-sets for balls, 2003, on the sphere).
 */
function circleAround(points: Vector[]): Omit<Circle, "country"> {
  let center = normalized(sum(points));
  for (let step = 2; step < 500; step++) {
    const far = farthest(center, points);
    center = normalized(sum([center.map((each) => each * (step - 1)) as Vector, far]));
  }
  const [x, y, z] = center;
  return {
    latitude: degrees(Math.asin(z)),
    longitude: degrees(Math.atan2(y, x)),
    radius: EARTH_KM * Math.acos(Math.min(1, dot(center, farthest(center, points)))) + MARGIN_KM,
  };
}

function vectorOf(longitude: number, latitude: number): Vector {
  const [east, north] = [radians(longitude), radians(latitude)];
  return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
}

const dot = (a: Vector, b: Vector) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const sum = (of: Vector[]) => of.reduce<Vector>((a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]], [0, 0, 0]);
const normalized = (of: Vector) => of.map((each) => each / Math.sqrt(dot(of, of))) as Vector;
const farthest = (from: Vector, of: Vector[]) => of.reduce((a, b) => dot(from, b) < dot(from, a) ? b : a);
const radians = (of: number) => of * Math.PI / 180;
const degrees = (of: number) => of * 180 / Math.PI;
