export { isForbidden, lookupAllowed, OutboundError, withoutBrackets } from './address.ts';
export { AllowedHosts, portOf } from './allowed-hosts.ts';
export { connectTo, refuseHost, type Target } from './connect.ts';
export { fetchOnce } from './fetch-once.ts';
