export { isForbidden, lookupAllowed, OutboundError } from './address.ts';
export { AllowedHosts } from './allowed-hosts.ts';
export { connectTo } from './connect.ts';
export { fetchOnce } from './fetch-once.ts';
