"""The program that was run to record docker_provider_state.json (one network, one volume, one container)."""

# fmt: off
import pulumi
import pulumi_docker as docker

net = docker.Network("net", name="rp-net", labels=[dict(label="app", value="rp")])
vol = docker.Volume("data", name="rp-data", labels=[dict(label="app", value="rp")])
container = docker.Container(
    "redis",
    name="rp-redis",
    image="redis-trixie:latest",  # a local image with redis-server 8.0.2 from Debian 13 packages
    command=["redis-server", "/etc/redis-rp.conf", "--dir", "/data"],
    networks_advanced=[dict(name=net.name, aliases=["cache", "redis"])],
    ports=[dict(internal=6379, external=16399, ip="127.0.0.1")],
    mounts=[dict(target="/data", source=vol.name, type="volume")],
    uploads=[dict(file="/etc/redis-rp.conf",
                  content="bind 0.0.0.0\nprotected-mode no\nappendonly yes\nmaxmemory 64mb\n")],
    healthcheck=dict(tests=["CMD", "redis-cli", "ping"], interval="2s", timeout="1s", retries=5, start_period="1s"),
    wait=True, wait_timeout=30, restart="unless-stopped", memory=256,
    envs=["RP=1"],
    labels=[dict(label="app", value="rp")],
)
pulumi.export("container_id", container.id)
pulumi.export("networkDatas", container.network_datas)
