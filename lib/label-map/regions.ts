import { z } from 'zod'
import type { ClassCard } from '../classes.js'
import { unexpected } from '../errors.js'
import { parsedOptions } from '../options.js'

/**
 * What the regions of a class must be like. Applied in this order: small ones go, the largest stays, holes are filled.
 * For a countable class it is each of its objects that must be so.
 */
export interface RegionRules {
  /** Connected regions (8 neighbours) of fewer pixels are dropped. Default 1: none. */
  minArea?: number
  /** Only the region with the most pixels stays. Default `false`. */
  largestComponent?: boolean
  /** Holes are filled, but where another class lies in them. Default `false`. */
  fillHoles?: boolean
}

/** Rules by class id; those under `*` hold for every class without rules of its own, and for `unknown`. */
export type RegionRulesByClass = Readonly<Record<string, RegionRules>>

const shape = {
  minArea: z.int().min(1).default(1).describe('a whole number of pixels, at least 1'),
  largestComponent: z.boolean().default(false).describe('true or false'),
  fillHoles: z.boolean().default(false).describe('true or false'),
}

export type CheckedRules = Required<RegionRules>

/** What counts for the pixels that no class claims. */
export const UNKNOWN_ID = 'unknown'

/**
 * @returns rules for every card and for `unknown`, by id
 * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`
 */
export function checkedRules(regions: RegionRulesByClass, cards: readonly ClassCard[]): Map<string, CheckedRules> {
  if (typeof regions !== 'object' || regions === null || Array.isArray(regions)) {
    throw unexpected('INVALID_ARGUMENT', 'regions', regions, "rules by class id, such as { '*': { fillHoles: true } }")
  }
  const ids = [...cards.map(({ id }) => id), UNKNOWN_ID]
  const stray = Object.keys(regions).find((id) => id !== '*' && !ids.includes(id))
  if (stray !== undefined) {
    throw unexpected('UNKNOWN_CLASS', 'a class of regions', stray, `*, ${UNKNOWN_ID} and the classes that may be named`)
  }
  const everyone = checkedRule(regions['*'] ?? {}, '*')
  return new Map(ids.map((id) => [id, regions[id] === undefined ? everyone : checkedRule(regions[id], id)]))
}

function checkedRule(rules: RegionRules, id: string): CheckedRules {
  const names = Object.keys(shape)
  if (typeof rules !== 'object' || rules === null || Array.isArray(rules)) {
    throw unexpected('INVALID_ARGUMENT', `regions['${id}']`, rules, `{ ${names.join(', ')} }, each of them optional`)
  }
  const stray = Object.keys(rules).find((name) => !names.includes(name))
  if (stray !== undefined) throw unexpected('INVALID_ARGUMENT', `a rule of regions['${id}']`, stray, names.join(', '))
  return parsedOptions(rules, shape)
}
