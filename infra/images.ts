interface ImageSpec {
  /** Folder name in the registry, and prefix of the resources. */
  name: 'model' | 'ingest' | 'camera' | 'console';
  dockerfile: string;
  platform: 'linux/amd64' | 'linux/arm64';
  /** An image that is built already, such as by CI; the deploy then builds none. */
  prebuilt?: string | undefined;
}

/**
 * Builds an image from the repository's root and pushes it to a registry of the stage.
 * @returns the image by its digest, so that a deploy runs exactly what it built
 */
export function createImage({ name, dockerfile, platform, prebuilt }: ImageSpec): $util.Output<string> {
  // The repository stays when an image is named that was built elsewhere: one that holds images can't be taken away.
  const title = `${name[0].toUpperCase()}${name.slice(1)}`;
  const repository = new aws.ecr.Repository(`${title}Repository`, {
    name: `${$app.name}/${$app.stage}/${name}`,
    imageTagMutability: 'MUTABLE',
    imageScanningConfiguration: { scanOnPush: true },
    forceDelete: $app.removal === 'remove',
  });
  new aws.ecr.LifecyclePolicy(`${title}RepositoryLifecycle`, {
    repository: repository.name,
    policy: JSON.stringify({
      rules: [
        {
          rulePriority: 1,
          selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 10 },
          action: { type: 'expire' },
        },
      ],
    }),
  });
  if (prebuilt) return $output(prebuilt);
  const login = aws.ecr.getAuthorizationTokenOutput({ registryId: repository.registryId });
  const image = new dockerbuild.Image(`${title}Image`, {
    context: { location: $cli.paths.root },
    dockerfile: { location: `${$cli.paths.root}/${dockerfile}` },
    platforms: [platform],
    tags: [$interpolate`${repository.repositoryUrl}:latest`],
    push: false,
    // In Docker's own format, which SageMaker takes; this pushes.
    exports: [{ image: { push: true, ociMediaTypes: false } }],
    // `sst diff` says what would change, and builds nothing.
    buildOnPreview: false,
    registries: [
      { address: login.proxyEndpoint, username: login.userName, password: $util.secret(login.password) },
    ],
  });
  return $interpolate`${repository.repositoryUrl}@${image.digest}`;
}
