"""The words of pages, in Chinese and in English."""

from dataclasses import dataclass

from resolver.api.negotiation import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What pages say. Braces are filled with what is asked about, as HTML."""

    language: Language
    not_found: str
    not_found_text: str
    slash_text: str
    not_resolved: str
    not_resolved_text: str
    nothing_shown: str
    alias_text: str
    loop_text: str
    depth_text: str
    index: str
    type: str
    data: str
    changed: str
    octets: str
    as_json: str
    role: str
    ready: str
    registrations: str
    prefixes: str
    yes: str
    no: str
    open: str
    none: str
    identifier: str
    resolve: str
    cannot: str


ENGLISH = Words(
    language=Language.ENGLISH,
    not_found="Not found",
    not_found_text="There is no identifier {}. Look for typing mistakes in it.",
    slash_text="It ends in a slash. Perhaps this one is meant: {}",
    not_resolved="Not resolved",
    not_resolved_text="{} could not be resolved here (response code {}).",
    nothing_shown="This identifier is registered and has nothing to show for this question.",
    alias_text="{} stands for this identifier.",
    loop_text="{} stands for an identifier that stands for it again. Tell whoever registered it.",
    depth_text="{} leads over more than {} other identifiers. Tell whoever registered it.",
    index="Index",
    type="Type",
    data="Value",
    changed="Changed",
    octets="{} octets",
    as_json="as JSON",
    role="Role",
    ready="Ready",
    registrations="Registrations",
    prefixes="Prefixes",
    yes="yes",
    no="no",
    open="open",
    none="none",
    identifier="Identifier",
    resolve="Resolve",
    cannot="This request cannot be answered",
)
CHINESE = Words(
    language=Language.CHINESE,
    not_found="未找到",
    not_found_text="标识 {} 不存在，请检查是否输入有误。",
    slash_text="它以斜杠结尾，您要找的也许是：{}",
    not_resolved="未能解析",
    not_resolved_text="在本节点未能解析 {}（响应码 {}）。",
    nothing_shown="该标识已注册，但没有符合此查询的公开内容。",
    alias_text="{} 是该标识的别名。",
    loop_text="{} 的别名绕回了它自己，请告知该标识的注册者。",
    depth_text="{} 经过了超过 {} 个别名，请告知该标识的注册者。",
    index="索引",
    type="类型",
    data="值",
    changed="更新时间",
    octets="{} 字节",
    as_json="以 JSON 显示",
    role="角色",
    ready="就绪",
    registrations="注册",
    prefixes="前缀",
    yes="是",
    no="否",
    open="开放",
    none="无",
    identifier="标识",
    resolve="解析",
    cannot="此请求无法处理",
)


def words_in(language: Language) -> Words:
    """Return the words of pages in a language."""
    return CHINESE if language is Language.CHINESE else ENGLISH
