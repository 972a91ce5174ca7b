{
  description = "SSH and port forwarding to Alibaba Cloud ECS instances without a public IP address";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      version = "@VERSION@";
      binaries = {
        x86_64-linux = { target = "x86_64-unknown-linux-musl"; sha256 = "@SHA256:x86_64-unknown-linux-musl.tar.gz@"; };
        aarch64-linux = { target = "aarch64-unknown-linux-musl"; sha256 = "@SHA256:aarch64-unknown-linux-musl.tar.gz@"; };
        x86_64-darwin = { target = "x86_64-apple-darwin"; sha256 = "@SHA256:x86_64-apple-darwin.tar.gz@"; };
        aarch64-darwin = { target = "aarch64-apple-darwin"; sha256 = "@SHA256:aarch64-apple-darwin.tar.gz@"; };
      };
      package = system: { target, sha256 }:
        let pkgs = nixpkgs.legacyPackages.${system}; in
        pkgs.stdenvNoCC.mkDerivation {
          pname = "ecs-bridge";
          inherit version;
          src = pkgs.fetchurl {
            url = "@DOWNLOAD@/ecs-bridge-${version}-${target}.tar.gz";
            inherit sha256;
          };
          nativeBuildInputs = [ pkgs.installShellFiles ];
          installPhase = ''
            install -Dm755 ecs-bridge -t $out/bin
            installManPage man/*.1
            installShellCompletion --bash --name ecs-bridge completions/ecs-bridge.bash
            installShellCompletion --zsh --name _ecs-bridge completions/ecs-bridge.zsh
            installShellCompletion --fish --name ecs-bridge.fish completions/ecs-bridge.fish
            install -Dm644 LICENSE-* THIRD-PARTY-LICENSES -t $out/share/licenses/ecs-bridge
          '';
          meta = {
            description = "SSH and port forwarding to Alibaba Cloud ECS instances without a public IP address";
            homepage = "@HOMEPAGE@";
            license = with pkgs.lib.licenses; [ asl20 mit ];
            mainProgram = "ecs-bridge";
          };
        };
    in {
      packages = nixpkgs.lib.mapAttrs (system: binary: rec {
        ecs-bridge = package system binary;
        default = ecs-bridge;
      }) binaries;
    };
}
