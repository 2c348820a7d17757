// What the compiled requests ask of the transport.

/**
 * Checks and translates a piece of memory that is not known yet: then it is. Returns false if it may not be had.
 * @param table number of the HCA's region table
 */
export declare function translate(table: u32, key: u32, pd: u32, access: u32, hi: u32, lo: u32, length: u32): bool;

/** Writes the region that `key` names into the HCA's table of regions. False if there is none that can be walked. */
export declare function describeRegion(table: u32, key: u32): bool;

/** Where in the window page `page` of ICM is; 0 if it is not. */
export declare function findIcm(table: u32, page: u32): u32;
