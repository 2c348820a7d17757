// Where the GUIDs begin that we give out ourselves.

export const DEFAULT_SWITCH_GUID = 0x001405000000ff00n;
export const FIRST_CA_GUID = 0x0002c90200000010n;
