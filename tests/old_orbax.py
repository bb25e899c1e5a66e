"""Two checkpoints as Orbax 0.4.8 and Flax 0.8.0 wrote them: a tar archive, since newer ones write none of this kind.

`mixed`: vectors in the aggregate file, kernels beside it; `whole`: a training state in its aggregate file alone.
"""

import base64
import io
import tarfile
from pathlib import Path

_ARCHIVE = (
    "{Wp48S^xk9=GL@E0stWa761SMbT8$j;7|Vq<Xr$ZnoD-!kd%}CDca@eSw1A21^}@nbH#!z$)Q<*%|7A{!MwT<tOSw_>lYrv2m*Bn@}uM-x!qZz"
    "Wnic#+#IFaRd1&ymT6Rw<u3@-v48?IEV*%z2?cu7`vd8hS_{*qM>llNpIE>H2mN1~iBwb--*Lflb`r8HSY`a`WF}JS+W>uN^yUYJV-BR41W=P*"
    "wjjvzxY%-3@uu1y*vahG*2&Vgcl(cMH7C90hPr)I&;^jw(+f<J#-m6=6$%S&Z)!A6LR^5bys;l8(6Z06J@p~ogoBY~iqJ2z*#5X}eKeAjV^oCs"
    "hZ=Pp>alj0zZ6z)du{ktKYSkd8lPOHdb*SdG(#w7vqsh@3micS^p+w~#v+=BCS!Qm{wV#JvOF>h5+Qb}2EL~h?Ljn09HYYdAi|ztl{aL*%FaW5"
    "8Tm0lnEO6N7iaVZ{9>$UqXaiheZZ-2P>k;<uu=cm5Ak26^VJIJ<=3xzt;$mN&Cg@Ex!4MR=RjVUv;2a^+~|zc^b(z3<_nK3{;&XY&5l;8FGN}J"
    "CaSF;Pr~h6JaYAo{FdB4Fg^TcssJ;>_AHnzxL4Z^6l8~DA}oS#)eH@e7O{}Lqb?<z5|t4zB9R!155lejbuWOhzqclyh{xB7j58I(Jy#c33eDD{"
    "#TlXOyTyMzvhg1Bvk9>71zV&RV1CGyl)3TF#_%i>-&@0$4znL!T4;};$ME@1l*Ma7HD9*BP3T9YJtU-L|Is!T*gB&KfPGV>1TWHMDM%%T(AmSZ"
    "P7l~>B8Rco-&J=;aEYDsi#`leO!C>St3o+`lNV_2NeCU_>W}Mm)U3DT;(36bG`A#cL2mea$_LTAhI9>m3<*w*w3q!wn6*NDvpIoPutr&wHSdUj"
    "O&|qGGlTA!UWe=ulfMH71<>PC3reTtytw~s%Zi7LA^rp~NA4Sq-#3-wB>#_xF40GX8$|J96S#P_eq%a6D({~1+t&C<`Jnj8vfHHU8MKUDq$LLt"
    "<G$p!oeBfdy6+v#XT-YZnb@osJU<!i?z7Bt5103L?K1L6svS4-m%xo6r^L;pS0kF@8+pq&S+0Efr{R+$jBzy(!r_vO64DXUnvpT)<JFn<q50>i"
    "!g$;aWQo0L!`k=yMcU~%YTQu<DIl9x7yFNH%q`1s{vt(Y%zM(LYsVkzHhyK|5nIKb+p>i#nt)C5FLUf=Cw7OkfaogQ2@tK9<I!9`{Ca@32KT?4"
    "z?6Lxpt+ohE*cx`Bn3cg!sI|L>!>u}ABfx}R|G0vxQTd!W@`gVYqdoTC2%q!@gVrC1rv4vM-qZA1OFRlssH(<YM-fcOXYQs8z>@f0O1B9oul-j"
    "(z|a?IRh!oqd}NVZ4;g4&^q6(!j%pixlx~Vi+PUfxQ?`=*PAYr0Sx6Zv}5BuNO<)vNaNyY2Zwu`{5lMtpf*)u_3te+=0fAz!za9jRku$4i`e>%"
    "`3D2HKw$Y`69N^?7#shxd*{$n+ZCMkR6T~bI0du{uK<*YisTE;LeL8fE~t`OPZf=e0x!YV6KM#I`{kZzaO83`z2)A@dWXAMawE`f;jrjG&dvyK"
    "@jGe}xKs~#-8)qn2+k^Lq|%j%UO{%=ZTiof8-`~^o{)l}+CYo=iXxx;QCt=^SRxGoXfIGKDeJj{00DpsfS>^Yz5;K$vBYQl0ssI200dcD"
)


def unpack(folder: Path) -> None:
    """Writes both checkpoints below a folder."""
    with tarfile.open(fileobj=io.BytesIO(base64.b85decode(_ARCHIVE))) as archive:
        archive.extractall(folder, filter="data")
