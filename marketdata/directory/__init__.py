"""The symbol master: what public directories say of symbols, whether or not we keep the asset.

`sources` reads directories, `listings` stores and looks them up, `importance` says what is sought first, `exchanges`
names places; `nearness` suggests for mistyped symbols, `search` finds assets and listings together.
"""
