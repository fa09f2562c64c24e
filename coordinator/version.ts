/** The version of the coordinator, as `/v1/network` and the OpenAPI document name it. */
export const version = '0.1.0';
