"""The kinds of services that are known, by the scheme of their addresses."""

from wmjax.suspects.services import gradio, hf, oip, v1
from wmjax.suspects.services.contract import Provider

PROVIDERS: dict[str, Provider] = {
    each.scheme: each
    for each in (
        oip.PROVIDER,
        v1.PROVIDER,
        hf.PROVIDER,
        gradio.PROVIDER,
    )
}
