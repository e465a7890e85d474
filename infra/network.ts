import { RECEIVERS } from '@video-pipeline/stages';
import { portOf } from '../packages/outbound/src/allowed-hosts.ts';
import { type Camera, cameraConnections } from './cameras.ts';
import { deployment, KAFKA_IAM_PORT, urlOf, VPC_CIDR } from './settings.ts';
import { endpointsOf, type Stage } from './stages.ts';

/** A security group. The names of its rules contain `name`. */
export interface Group {
  name: string;
  id: $util.Input<string>;
}

export type Network = ReturnType<typeof createNetwork>;

export const HTTPS = 443;
const SSH = 22;
export const ANYWHERE = '0.0.0.0/0';
const EVERY_PORT = { protocol: '-1', fromPort: 0, toPort: 0 };
/**
 * Zones in which AWS creates no EKS cluster, by their ids: the names of zones differ by account.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
 */
export const REFUSED_ZONES = ['use1-az3', 'usw1-az2', 'cac1-az3'];

/** VPC with private subnets, access to AWS's APIs, and security groups that start without rules. */
export function createNetwork(stage: Stage, cameras: readonly Camera[]) {
  const { zones, nat, tunnel } = stage.network;
  const endpoints = endpointsOf(stage);
  const ssh = tunnel ? [{ ...toPort(SSH, VPC_CIDR), cidrBlocks: deployCidrs(stage) }] : [];
  $transform(aws.iam.Role, (args, _options, name) => {
    // SST's policy would let these instances read every parameter, such as the passphrase of the state.
    if (/^Network(Nat|Bastion)/.test(name)) args.managedPolicyArns = [];
  });
  const vpc = new sst.aws.Vpc('Network', {
    az: zonesOf(zones),
    nat,
    bastion: tunnel,
    transform: {
      // The default group allows no connections.
      securityGroup: { ingress: [], egress: [] },
      privateSubnet: (args) => tagSubnet(args, 'internal-elb'),
      publicSubnet: (args) => tagSubnet(args, 'elb'),
      natInstance: harden,
      bastionInstance: harden,
      natSecurityGroup: (args) => {
        args.ingress = [{ ...EVERY_PORT, cidrBlocks: [VPC_CIDR] }, ...ssh];
        args.egress = [
          ...[...new Set([HTTPS, ...portsOutside(stage)])].map((port) => toPort(port, ANYWHERE)),
          ...cameraConnections(stage, cameras).map((one) => toPort(one.port, one.cidr, one.protocol)),
          toPort(KAFKA_IAM_PORT, VPC_CIDR),
        ];
      },
      // Beside NAT gateways the bastion is an instance of its own, which SST would open to everyone.
      bastionSecurityGroup: { ingress: ssh, egress: [toPort(KAFKA_IAM_PORT, VPC_CIDR)] },
    },
  });
  const region = aws.getRegionOutput().region;
  const s3 = new aws.ec2.VpcEndpoint('NetworkS3', {
    vpcId: vpc.id,
    serviceName: $interpolate`com.amazonaws.${region}.s3`,
    vpcEndpointType: 'Gateway',
    routeTableIds: vpc.nodes.privateRouteTables.apply((tables) => tables.map((table) => table.id)),
  });
  const endpointGroup = endpoints.length > 0 ? createGroup(vpc, 'Endpoints') : undefined;
  if (endpointGroup) createEndpoints(vpc, endpointGroup, endpoints, region);
  return { vpc, s3PrefixList: s3.prefixListId, endpointGroup };
}

/** Addresses that the internet does not know: of networks inside, of the machine itself, of carriers. */
const PRIVATE = /^(10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./;

/** Addresses that may reach the stage's tunnel and Kubernetes API. @throws Error when it has one, and none is named */
export function deployCidrs({ name, network, inference }: Stage): string[] {
  const { DEPLOY_CIDRS = [] } = deployment();
  const isEks = inference.backend === 'eks';
  if (DEPLOY_CIDRS.length === 0 && (network.tunnel || isEks))
    throw new Error(`DEPLOY_CIDRS is not set: stage '${name}' must know who may reach it`);
  const inside = DEPLOY_CIDRS.filter((cidr) => PRIVATE.test(cidr));
  if (isEks && inside.length > 0)
    throw new Error(`DEPLOY_CIDRS has private addresses, which EKS refuses: name public ones, not ${inside}`);
  return DEPLOY_CIDRS;
}

/** Metadata of instances: version 2 only. One hop: a container with its own network can't read the credentials. */
export const METADATA = { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1 };

/** Protects SST's instances as ingest's are protected. */
function harden(args: aws.ec2.InstanceArgs, options: $util.CustomResourceOptions): undefined {
  args.metadataOptions = METADATA;
  args.rootBlockDevice = { encrypted: true };
  // SST takes the newest image at each deploy: a new one would replace the instance and interrupt outbound traffic.
  options.ignoreChanges = ['ami'];
}

const toPort = (port: number, cidr: string, protocol: 'tcp' | 'udp' = 'tcp') => ({
  protocol,
  fromPort: port,
  toPort: port,
  cidrBlocks: [cidr],
});

/** Ports outside AWS that the stage calls: those of its collector and its receivers. */
function portsOutside({ settings }: Stage): number[] {
  const urls = [settings.OTEL_EXPORTER_OTLP_ENDPOINT, ...RECEIVERS.map(urlOf)];
  return urls.flatMap((url) => (url ? [portOf(new URL(url))] : []));
}

/** The region's zones in which every resource of ours can be created, without the account's Local Zones. */
export const usableZones = () =>
  aws.getAvailabilityZonesOutput({
    state: 'available',
    excludeZoneIds: REFUSED_ZONES,
    filters: [{ name: 'opt-in-status', values: ['opt-in-not-required'] }],
  });

function zonesOf(count: number): $util.Output<string[]> {
  return usableZones().names.apply((names) => {
    if (names.length < count)
      throw new Error(
        `the region has ${names.length} zones that EKS accepts, and the stage needs ${count}: lower network.zones in infra/stages.ts, or set AWS_REGION`,
      );
    return names.slice(0, count);
  });
}

/**
 * EKS Auto Mode finds the subnets of a load balancer by this tag only.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/tag-subnets-auto.html
 */
function tagSubnet(args: aws.ec2.SubnetArgs, role: 'elb' | 'internal-elb'): undefined {
  args.tags = $output(args.tags).apply((tags) => ({ ...tags, [`kubernetes.io/role/${role}`]: '1' }));
}

function createEndpoints(
  vpc: sst.aws.Vpc,
  group: Group,
  services: string[],
  region: $util.Output<string>,
): void {
  for (const service of services) {
    const name = service.replace(/(^|[.-])./g, (start) => start.slice(-1).toUpperCase());
    new aws.ec2.VpcEndpoint(`Network${name}`, {
      vpcId: vpc.id,
      serviceName: $interpolate`com.amazonaws.${region}.${service}`,
      vpcEndpointType: 'Interface',
      privateDnsEnabled: true,
      subnetIds: vpc.privateSubnets,
      securityGroupIds: [group.id],
    });
  }
}

/** A security group without rules: it allows no connections. {@link connect} adds the needed rules. */
export function createGroup(vpc: sst.aws.Vpc, name: string): Group {
  const group = new aws.ec2.SecurityGroup(`${name}Group`, {
    vpcId: vpc.id,
    description: `${name} of video-pipeline`,
  });
  return { name, id: group.id };
}

/** The other side of a rule: a group, addresses, or the prefix list of an AWS service. TCP unless it says otherwise. */
type Peer = Pick<
  aws.vpc.SecurityGroupEgressRuleArgs,
  'referencedSecurityGroupId' | 'cidrIpv4' | 'prefixListId'
> & { ipProtocol?: string };

/** Names of existing rules: two parts of a stage may need the same rule, and AWS refuses a duplicate. */
const rules = new Set<string>();

function addRule(kind: 'Egress' | 'Ingress', name: string, { id }: Group, port: number, peer: Peer): void {
  if (rules.has(kind + name)) return;
  rules.add(kind + name);
  const onPort = { ipProtocol: 'tcp', fromPort: port, toPort: port, securityGroupId: id };
  new aws.vpc[`SecurityGroup${kind}Rule`](name, { ...onPort, ...peer });
}

/** Allows `from` to open TCP connections to `to` on one port, by one rule on each side. */
export function connect(from: Group, to: Group, port: number): void {
  const name = `${from.name}To${to.name}${port}`;
  addRule('Egress', name, from, port, { referencedSecurityGroupId: to.id });
  addRule('Ingress', name, to, port, { referencedSecurityGroupId: from.id });
}

/** Allows `from` to open connections to the addresses of `cidr`. */
export function connectOut(from: Group, cidr: string, port: number, protocol: 'tcp' | 'udp' = 'tcp'): void {
  const name = `${from.name}To${cidr.replaceAll(/[./]/g, 'x')}p${port}${protocol === 'udp' ? 'udp' : ''}`;
  addRule('Egress', name, from, port, { cidrIpv4: cidr, ipProtocol: protocol });
}

/** Allows `from` to send traces, if the stage has a collector. */
export function reachCollector({ settings }: Stage, from: Group): void {
  if (!settings.OTEL_EXPORTER_OTLP_ENDPOINT) return;
  connectOut(from, ANYWHERE, portOf(new URL(settings.OTEL_EXPORTER_OTLP_ENDPOINT)));
}

/** Allows addresses outside the VPC to open TCP connections to `to`. */
export function acceptFrom(cidr: string, to: Group, port: number): void {
  addRule('Ingress', `${cidr.replaceAll(/[./]/g, 'x')}To${to.name}${port}`, to, port, { cidrIpv4: cidr });
}

/** Allows `from` to call S3, over the gateway endpoint within AWS's network. */
export function reachS3(network: Network, from: Group): void {
  addRule('Egress', `${from.name}ToS3`, from, HTTPS, { prefixListId: network.s3PrefixList });
}

/** Allows `from` to call the other AWS APIs: over interface endpoints, or over the NAT in a stage without them. */
export function reachAws(network: Network, from: Group): void {
  if (network.endpointGroup) connect(from, network.endpointGroup, HTTPS);
  else connectOut(from, ANYWHERE, HTTPS);
}

/** Allows connections from the stage's bastion, for `sst tunnel`. */
export function acceptTunnel(network: Network, stage: Stage, to: Group, port: number): void {
  if (!stage.network.tunnel) return;
  const bastion = network.vpc.nodes.bastionSecurityGroup.apply((group) => $output(group?.id ?? ''));
  addRule('Ingress', `TunnelTo${to.name}${port}`, to, port, { referencedSecurityGroupId: bastion });
}
