import { title } from './settings.ts';

/**
 * Builds an image from the root of this repository and pushes it to an ECR repository of the stage.
 * @param name folder name in the registry, and prefix of the resources
 * @param prebuilt an image that is built already, by CI for example. The deploy then builds none
 * @returns the image by its digest, so that a deploy runs exactly what it built
 */
export function createImage(
  name: 'model' | 'ingest' | 'camera' | 'console' | 'worker',
  dockerfile: string,
  prebuilt?: string,
  platform: 'linux/amd64' | 'linux/arm64' = 'linux/arm64',
): $util.Output<string> {
  // The repository is created for a prebuilt image too: a repository with images can't be removed.
  const repository = new aws.ecr.Repository(`${title(name)}Repository`, {
    name: `${$app.name}/${$app.stage}/${name}`,
    imageTagMutability: 'MUTABLE',
    imageScanningConfiguration: { scanOnPush: true },
    forceDelete: $app.removal === 'remove',
  });
  const selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 10 };
  new aws.ecr.LifecyclePolicy(`${title(name)}RepositoryLifecycle`, {
    repository: repository.name,
    policy: JSON.stringify({ rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] }),
  });
  if (prebuilt) return $output(prebuilt);
  const login = aws.ecr.getAuthorizationTokenOutput({ registryId: repository.registryId });
  const image = new dockerbuild.Image(`${title(name)}Image`, {
    context: { location: $cli.paths.root },
    dockerfile: { location: `${$cli.paths.root}/${dockerfile}` },
    platforms: [platform],
    tags: [$interpolate`${repository.repositoryUrl}:latest`],
    push: false,
    // Pushes in Docker's own format, which SageMaker requires.
    exports: [{ image: { push: true, ociMediaTypes: false } }],
    // `sst diff` shows the changes and builds nothing.
    buildOnPreview: false,
    registries: [
      { address: login.proxyEndpoint, username: login.userName, password: $util.secret(login.password) },
    ],
  });
  return $interpolate`${repository.repositoryUrl}@${image.digest}`;
}
