# Homebrew: a formula for a tap. packaging/templates/fill puts in version, addresses and checksums.
class EcsBridge < Formula
  desc "SSH and port forwarding to Alibaba Cloud ECS instances without a public IP address"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license any_of: ["Apache-2.0", "MIT"]

  on_macos do
    on_arm do
      url "@DOWNLOAD@/ecs-bridge-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "@DOWNLOAD@/ecs-bridge-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin.tar.gz@"
    end
  end

  on_linux do
    on_arm do
      url "@DOWNLOAD@/ecs-bridge-@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-musl.tar.gz@"
    end
    on_intel do
      url "@DOWNLOAD@/ecs-bridge-@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-musl.tar.gz@"
    end
  end

  def install
    bin.install "ecs-bridge"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/ecs-bridge.bash" => "ecs-bridge"
    zsh_completion.install "completions/ecs-bridge.zsh" => "_ecs-bridge"
    fish_completion.install "completions/ecs-bridge.fish"
    doc.install Dir["*.md", "*.schema.json"], "docs", "ssh_config.example", "THIRD-PARTY-LICENSES", "ecs-bridge.cdx.json"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/ecs-bridge --version")
    assert_match "no profiles", shell_output("#{bin}/ecs-bridge configure list 2>&1")
  end
end
