import { PRICE } from './prices.ts';
import type { Stage } from './stages.ts';

/**
 * Transfer of frames between availability zones. AWS charges for it on both sides, also between a load balancer and its
 * clients or targets. It does not charge for copies between MSK's brokers, nor for S3 by a gateway endpoint. Lambda's
 * provisioned pollers invoke functions without the VPC.
 * @see https://aws.amazon.com/blogs/networking-and-content-delivery/exploring-data-transfer-costs-for-aws-network-load-balancers/
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-msk-cluster-network.html
 */

/** A hop that each JPEG takes, and the share of JPEGs that leave their zone on it, 0..1. */
interface Hop {
  hop: string;
  share: number;
}

/** The hops of a frame's JPEG through the zones. */
export function hopsOf({ network: { zones, zonal }, functions, inference, settings }: Stage): Hop[] {
  // The other side is in any of the zones.
  const any = (zones - 1) / zones;
  const near = zonal ? 0 : any;
  // Lambda's mapping has no setting for the nearest replica.
  const fromKafka = functions.workers ? near : any;
  return [
    { hop: 'ingest to Kafka', share: near },
    { hop: 'Kafka to detect', share: fromKafka },
    ...(inference.backend === 'eks'
      ? [
          { hop: 'detect to the load balancer', share: near },
          { hop: 'load balancer to the model', share: near },
        ]
      : []),
    ...(settings.PICTURES === 'twice'
      ? [
          { hop: 'detect to Kafka', share: any },
          { hop: 'Kafka to annotate', share: fromKafka },
        ]
      : []),
  ];
}

/** Dollars for the transfer of published JPEGs between zones. */
export function transferUsd(stage: Stage, gigabytes: number): number {
  return hopsOf(stage).reduce((sum, { share }) => sum + share * gigabytes * PRICE.perGb.betweenZones, 0);
}
